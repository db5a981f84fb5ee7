"""What a campaign found, as tables for a terminal."""

from __future__ import annotations

import collections
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from fuzz.campaign import Count
from fuzz.kinds import KINDS
from fuzz.verdicts import CLASSES, CLEAN, SUCCESS


def show(count: Count, console: Console, seconds: float) -> None:
    """A row for each kind of file, and a line for each sort of failure."""
    happened = {end for *_, end in count.ends} | {SUCCESS, CLEAN}
    columns = [name for name in CLASSES if name in happened]
    table = Table(title="Mutated files")
    table.add_column("kind of file")
    for name in ("cases", *columns):
        table.add_column(name, justify="right")
    for kind in [*KINDS, None]:
        table.add_row(kind or "all", *map(str, _row(count, kind, columns)))
    console.print(table)
    for (kind, where, file), number in sorted(count.failures.items()):
        console.print(f"{number:>5}  {kind}: {file}: {where}", markup=False)
    total, peak = sum(count.ends.values()), count.peak / 2**30
    console.print(f"{total} cases in {seconds:.0f} s; slowest {count.slowest:.1f} s, most memory {peak:.2f} GiB")


def show_trials(
    title: str, ends: collections.Counter[str], broken: list[str], console: Console, seconds: float
) -> None:
    """How often each end was reached, and what did not hold."""
    table = Table(title=title)
    table.add_column("command: end")
    table.add_column("number", justify="right")
    for end, number in sorted(ends.items()):
        table.add_row(end, str(number))
    console.print(table)
    for line in broken:
        console.print(line, markup=False, style="red")
    console.print(f"{sum(ends.values())} in {seconds:.0f} s")


def _row(count: Count, kind: str | None, columns: list[str]) -> Iterator[int]:
    ends = {key: number for key, number in count.ends.items() if kind in (None, key[0])}
    yield sum(ends.values())
    for column in columns:
        yield sum(number for (*_, end), number in ends.items() if end == column)
