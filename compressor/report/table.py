"""A table before it has a look: terminal, Markdown and HTML each draw the same table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compressor.report.format import UNKNOWN, Tone, plain

NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; where room is short the column with the highest ``spare`` goes first, 0 never goes.

    A column that ``wraps`` holds prose or long names, which may take several lines.
    """

    title: str
    spare: int = 0
    numeric: bool = True
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of text; ``tone`` colours it and is set by verdicts only."""

    text: str
    tone: Tone = "plain"

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", plain(self.text))


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of equal length; ``caption`` says how to read them."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


def without_holes(table: Table) -> Table:
    """``table`` without the columns in which no row tells anything; a dash says where there is nothing to say."""
    filled = without_empty_columns(table)
    rows = tuple(tuple(cell if cell.text else replace(cell, text=NOTHING) for cell in cells) for cells in filled.rows)
    return replace(filled, rows=rows)


def without_empty_columns(table: Table) -> Table:
    """``table`` without the columns in which no row tells anything."""
    kept = [i for i in range(len(table.columns)) if any(cells[i].text not in ("", UNKNOWN) for cells in table.rows)]
    rows = tuple(tuple(cells[i] for i in kept) for cells in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=rows)


def row(*cells: str | Cell) -> tuple[Cell, ...]:
    """Cells of one row; bare text becomes a cell without tone."""
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)


def facts(title: str, values: Mapping[str, object]) -> Table:
    """A two-column table of names and plain values."""
    columns = (Column("Name", numeric=False), Column("Value", numeric=False, wraps=True))
    rows = tuple(row(name.replace("_", " "), _fact(value)) for name, value in values.items())
    return Table(title, columns, rows)


def _fact(value: object) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
