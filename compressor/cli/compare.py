"""``compress compare``: reports side by side; can fail a CI job."""

from __future__ import annotations

from pathlib import Path

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.gates import gate_lines, gate_options, require_held
from compressor.cli.options import out_option, overwrite_option


@command("compare")
@click.argument("reports", metavar="REPORT.json ...", nargs=-1, required=True, type=click.Path(path_type=Path))
@gate_options
@out_option("File for the comparison, .html or .md.")
@overwrite_option
def compare(
    console: Console,
    reports: tuple[Path, ...],
    max_drop: float | None,
    min_speedup: float | None,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Say how JSON reports differ; limits can fail a CI job.

    Runs are called by their folders. A warning says when the reports come from different environments. The limits
    --max-drop and --min-speedup compare every later report with the first, and a report that is given alone with its
    own dense network, by the unfavourable end of the 95 % interval; when one does not hold, the exit code is 1.
    Accuracies on the same images are compared image by image.
    """
    from msgspec.structs import replace

    from compressor.cli.publishing import check_out
    from compressor.codec import read_report
    from compressor.files import write_text
    from compressor.report.differences import comparison_headline, comparison_notes, difference_table, labels
    from compressor.report.gates import check_limits, compare_gates, failures
    from compressor.report.html import comparison_html
    from compressor.report.markdown import comparison_markdown
    from compressor.report.side_by_side import compare_reports, comparison_table
    from compressor.report.terminal import FittedTable

    check_limits(max_drop=max_drop, min_speedup=min_speedup)
    writers = {".html": comparison_html, ".md": comparison_markdown}
    if out is not None:
        check_out(out, tuple(writers), overwrite=overwrite)
    labelled = list(zip(labels(reports), map(read_report, reports), strict=True))
    gates = compare_gates(labelled, max_drop=max_drop, min_speedup=min_speedup)
    result = replace(compare_reports(labelled), gates=gates, failures=tuple(failures(gates)))
    if out is not None:
        write_text(out, writers[out.suffix](labelled, gates))
    for warning in result.warnings:
        console.warn(warning)
    written = [f"Wrote {out}"] if out is not None else []
    tables = [difference_table(labelled), comparison_table(result)] if len(labelled) > 1 else [comparison_table(result)]
    said = comparison_headline(labelled), *comparison_notes(labelled)
    console.result(result, *said, *map(FittedTable, tables), *gate_lines(gates), *written)
    require_held(gates)
