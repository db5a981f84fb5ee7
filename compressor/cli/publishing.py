"""What a command writes and shows: checks before any work, and the lines that close it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.cli.console import Console
from compressor.cli.outputs import reserve
from compressor.errors import UsageError
from compressor.files import gzipped_bytes, refuse_existing

if TYPE_CHECKING:
    from rich.console import RenderableType

    from compressor.records.run import Report
    from compressor.report.table import Table


def show(console: Console, report: Report, table: Table, *closing: RenderableType) -> None:
    """Print a report: headline, figures, its table, findings, what to ship, and the closing lines.

    Warnings go to stderr, each once.
    """
    from compressor.records.run import RunReport
    from compressor.report.figures import summary_table
    from compressor.report.headline import all_warnings, finding_lines, headline
    from compressor.report.shipping import shipping_lines
    from compressor.report.terminal import FittedTable

    for warning in all_warnings(report):
        if warning not in console.warnings:
            console.warn(warning)
    tables = [summary_table(report), table] if isinstance(report, RunReport) else [table]
    findings = (*finding_lines(report), *shipping_lines(report))
    console.result(report, headline(report), *map(FittedTable, tables), *findings, *closing)


def check_out(path: Path, endings: Sequence[str], *, overwrite: bool) -> None:
    """Raise `UsageError` when ``path`` has another ending, is a folder, or exists; call it before any work.

    From then on until the command ends nobody else writes ``path``: `CompressorError` when somebody does already.
    """
    check_outs([(path, endings)], overwrite=overwrite)


def check_outs(files: Sequence[tuple[Path, Sequence[str]]], *, overwrite: bool) -> None:
    """The same for several files, each with its endings; all are held before one is refused.

    So the locks that a killed process has left go too.
    """
    for path, allowed in files:
        if path.suffix not in allowed:
            raise UsageError(f"--out {path} must end in {' or '.join(allowed)}")
        if path.is_dir():
            raise UsageError(f"--out {path} is a folder; a file is needed")
        reserve(path)
    for path, _ in files:
        refuse_existing(path, overwrite=overwrite)


def wrote(path: Path) -> str:
    """The line that closes a command which wrote ``path``: zeros show in the compressed size alone."""
    return f"Wrote {path} ({path.stat().st_size:,} bytes, {gzipped_bytes(path):,} after gzip -6)"


def check_report_path(path: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` when ``path`` is no .json, or one of its files exists; call it before any work."""
    pages = [(path.with_suffix(ending), (ending,)) for ending in (".html", ".md")]
    check_outs([(path, (".json",)), *pages], overwrite=overwrite)
