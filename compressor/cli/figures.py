"""Small tables that several commands print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[str] = ()) -> Table:
    """A plain table; columns after the first are aligned to the right when they hold figures and no ``words``."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [list(row) for row in rows]
    for place, header in enumerate(headers):
        figures = (
            place > 0
            and header not in words
            and all(row[place][:1].isdigit() or row[place] in {"", "-"} for row in rows)
        )
        found.add_column(header, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        found.add_row(*map(escape, row))
    return found


def percent(share: float) -> str:
    """0.9512 as 95.12 %."""
    return f"{100 * share:.2f} %"


def accuracy_text(plain: dict[str, Any]) -> str:
    """Accuracy with its 95 % interval, from its plain form."""
    low, high = plain["ci95"]
    return f"{percent(plain['value'])} (CI {100 * low:.2f}-{100 * high:.2f}, n={plain['n']})"
