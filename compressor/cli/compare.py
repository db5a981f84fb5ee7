"""``compress compare``: reports side by side; can fail a CI job."""

from __future__ import annotations

from pathlib import Path

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.gates import gate_lines, gate_options, require_held
from compressor.cli.options import out_option, overwrite_option


@command("compare")
@click.argument("reports", metavar="OLD.json NEW.json ...", nargs=-1, required=True, type=click.Path(path_type=Path))
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
    """Put JSON reports side by side, with limits that can fail a CI job.

    A warning says when the reports come from different environments. The limits --max-drop and --min-speedup compare
    every later report with the first, by the unfavourable end of the 95 % interval; when one does not hold, the exit
    code is 1. Accuracies on the same images are compared image by image.
    """
    from msgspec.structs import replace

    from compressor.cli.publishing import check_out
    from compressor.codec import read_report
    from compressor.errors import UsageError
    from compressor.files import write_text
    from compressor.report.gates import check_gates, check_limits, failures
    from compressor.report.html import comparison_html
    from compressor.report.markdown import comparison_markdown
    from compressor.report.side_by_side import compare_reports, comparison_table
    from compressor.report.terminal import FittedTable

    if len(reports) < 2:
        raise UsageError(f"compare needs at least two reports, got {len(reports)}")
    check_limits(max_drop=max_drop, min_speedup=min_speedup)
    writers = {".html": comparison_html, ".md": comparison_markdown}
    if out is not None:
        check_out(out, tuple(writers), overwrite=overwrite)
    labelled = [(str(path), read_report(path)) for path in reports]
    (_, old), *later = labelled
    gates = tuple(
        replace(gate, measured=f"{label}: {gate.measured}")
        for label, new in later
        for gate in check_gates(old, new, max_drop=max_drop, min_speedup=min_speedup)
    )
    result = replace(compare_reports(labelled), gates=gates, failures=tuple(failures(gates)))
    if out is not None:
        write_text(out, writers[out.suffix](labelled, gates))
    for warning in result.warnings:
        console.warn(warning)
    written = [f"Wrote {out}"] if out is not None else []
    console.result(result, FittedTable(comparison_table(result)), *gate_lines(gates), *written)
    require_held(gates)
