"""Small tables that several commands print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from compressor.records import Metric
from compressor.report.format import metric_value


def table(headers: Sequence[str], rows: Iterable[Sequence[str]], *, words: Sequence[str] = ()) -> Table:
    """A plain table; columns after the first are aligned to the right when they hold figures and no ``words``."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [list(row) for row in rows]
    for place, header in enumerate(headers):
        figures = (
            place > 0
            and header not in words
            and all(row[place][:1].isdigit() or row[place] in {"", "-"} for row in rows)
        )
        drawn.add_column(header, justify="right" if figures else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*map(escape, row))
    return drawn


def percent(share: float) -> str:
    """0.9512 as 95.12 %."""
    return f"{100 * share:.2f} %"


def metric_text(metric: Metric) -> str:
    """A metric with its 95 % interval and the number of samples: ``95.12 % (CI 93.00-96.80, n=360)``."""
    if metric.ci95 is None:
        return metric_value(metric)
    factor, decimals = (100, ".2f") if metric.unit == "share" else (1, ".4g")
    low, high = (f"{factor * bound:{decimals}}" for bound in metric.ci95)
    return f"{metric_value(metric)} (CI {low}-{high}, n={metric.n})"
