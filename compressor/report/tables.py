"""Sheets as rich tables; nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from compressor.report.benchmark_sheets import benchmark_sheet
from compressor.report.compare import Labelled, compare
from compressor.report.comparison_sheet import comparison_sheet
from compressor.report.documents import Document
from compressor.report.run_sheets import stage_sheet
from compressor.report.sheet import Column, Sheet

STYLES = {"good": "green", "bad": "red", "open": "yellow", "plain": ""}
# A longer name or note wraps, so that it does not push the figures out.
WIDEST = 28


class FittedTable:
    """A rich renderable that leaves out its least important columns until it fits the terminal."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(range(len(self.sheet.columns)))
        table = self._table(shown)
        unbounded = options.update(max_width=10_000)
        while Measurement.get(console, unbounded, table).maximum > options.max_width:
            spare = max(shown, key=lambda index: self.sheet.columns[index].spare)
            if self.sheet.columns[spare].spare == 0:
                break
            shown.remove(spare)
            table = self._table(shown)
        yield table

    def _table(self, shown: Sequence[int]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
        for index in shown:
            column: Column = self.sheet.columns[index]
            table.add_column(
                column.title,
                justify="right" if column.numeric else "left",
                max_width=WIDEST if column.wraps else None,
                overflow="fold",
            )
        for cells in self.sheet.rows:
            table.add_row(*(Text(cells[index].text, style=STYLES[cells[index].tone]) for index in shown))
        return table


def stage_table(run: Document) -> FittedTable:
    """The stages of a run."""
    return FittedTable(stage_sheet(run))


def benchmark_table(benchmark: Document) -> FittedTable:
    """The variants of a benchmark."""
    return FittedTable(benchmark_sheet(benchmark))


def comparison_table(labelled: Labelled) -> FittedTable:
    """Several labelled documents side by side."""
    return FittedTable(comparison_sheet(compare(labelled)))
