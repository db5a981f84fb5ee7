"""Tables drawn by rich for the terminal; nothing is printed here."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from compressor.report.format import plain
from compressor.report.table import Column, Table

STYLES = {"good": "green", "bad": "red", "open": "yellow", "plain": ""}
# A longer name or note wraps, so that it does not push the figures out.
WIDEST = 28
MOST_ROWS = 300  # nobody reads more, and laying them out takes its time


class FittedTable:
    """A rich renderable that leaves out its least important columns until it fits the terminal."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(range(len(self.table.columns)))
        table = self._table(shown)
        unbounded = options.update(max_width=10_000)
        while Measurement.get(console, unbounded, table).maximum > options.max_width:
            spare = max(shown, key=lambda index: self.table.columns[index].spare)
            if self.table.columns[spare].spare == 0:
                break
            shown.remove(spare)
            table = self._table(shown)
        yield table
        if left_out := [column.title for index, column in enumerate(self.table.columns) if index not in shown]:
            yield Text(f"Left out at this width: {plain(', '.join(left_out))}", style="dim")
        if hidden := len(self.table.rows[MOST_ROWS:]):
            yield Text(f"{hidden} more rows are left out here")

    def _table(self, shown: Sequence[int]) -> RichTable:
        table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
        for index in shown:
            column: Column = self.table.columns[index]
            table.add_column(
                Text(column.title),
                justify="right" if column.numeric else "left",
                max_width=WIDEST if column.wraps else None,
                overflow="fold",
            )
        for cells in self.table.rows[:MOST_ROWS]:
            table.add_row(*(Text(cells[index].text, style=STYLES[cells[index].tone]) for index in shown))
        return table
