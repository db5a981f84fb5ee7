"""``compress compare``: reports side by side; can fail a CI job."""

from __future__ import annotations

from pathlib import Path

import click

from compressor.cli.command import command
from compressor.cli.console import Console
from compressor.cli.options import out_option, overwrite_option


@command("compare")
@click.argument("reports", metavar="OLD.json NEW.json ...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Fail when the metric may be worse by more than this: points of accuracy, or the metric's own unit.",
)
@click.option("--min-speedup", type=float, metavar="FACTOR", help="Fail when the speed-up may be smaller than this.")
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
    code is 1.
    """
    from msgspec.structs import replace

    from compressor.cli.publishing import check_out
    from compressor.codec import read_report
    from compressor.errors import TargetNotMet, UsageError
    from compressor.files import write_text
    from compressor.report.gates import check_gates
    from compressor.report.html import comparison_html
    from compressor.report.markdown import comparison_markdown
    from compressor.report.side_by_side import compare_reports, comparison_table
    from compressor.report.terminal import FittedTable

    if len(reports) < 2:
        raise UsageError(f"compare needs at least two reports, got {len(reports)}")
    writers = {".html": comparison_html, ".md": comparison_markdown}
    if out is not None:
        check_out(out, tuple(writers), overwrite=overwrite)
    labelled = [(str(path), read_report(path)) for path in reports]
    (_, old), *later = labelled
    failures = [
        f"{label}: {failure}"
        for label, new in later
        for failure in check_gates(old, new, max_drop=max_drop, min_speedup=min_speedup)
    ]
    result = replace(compare_reports(labelled), failures=tuple(failures))
    if out is not None:
        write_text(out, writers[out.suffix](labelled))
    for warning in result.warnings:
        console.warn(warning)
    written = [f"Wrote {out}"] if out is not None else []
    console.result(result, FittedTable(comparison_table(result)), *written)
    if failures:
        raise TargetNotMet("; ".join(failures))
