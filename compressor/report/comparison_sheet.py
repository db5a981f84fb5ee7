"""The sheet of several documents side by side."""

from __future__ import annotations

from compressor.report.benchmark_sheets import batch_column
from compressor.report.compare import Row, SideBySide
from compressor.report.sheet import Cell, Column, Sheet, row, without_empty_columns
from compressor.report.wording import TONES, accuracy, count, milliseconds, short_verdict, size

CAPTION = (
    "Each speed-up was measured inside its own document, against its own baseline, with a 95 % interval. "
    "Times of different documents were not interleaved: compare the speed-ups, not the milliseconds."
)


def comparison_sheet(result: SideBySide) -> Sheet:
    """One row per network, timing and document."""
    columns = (
        Column("Report", numeric=False, wraps=True),
        Column("Network", numeric=False),
        batch_column({one.batch for one in result.rows if one.batch}),
        Column("Accuracy", spare=1),
        Column("MACs", spare=3),
        Column("Params", spare=6),
        Column("Size", spare=2),
        Column("p50", spare=4),
        Column("Latency [95 % CI]", numeric=False),
    )
    rows = tuple(_cells(one) for one in result.rows)
    return without_empty_columns(Sheet("Side by side", columns, rows, CAPTION))


def _cells(one: Row) -> tuple[Cell, ...]:
    return row(
        one.label,
        one.variant,
        "" if one.batch is None else str(one.batch),
        accuracy(one.accuracy) if one.accuracy else "",
        count(one.macs),
        count(one.parameters),
        size(one.size_bytes),
        milliseconds(one.p50_ms) if one.p50_ms is not None else "",
        _verdict(one),
    )


def _verdict(one: Row) -> Cell:
    if one.comparison is not None:
        return Cell(short_verdict(one.comparison), TONES[one.comparison["verdict"]])
    return Cell("" if one.p50_ms is None else "baseline")
