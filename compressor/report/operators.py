"""Where the time of a call goes, operator by operator, in each file beside the others."""

from __future__ import annotations

from collections.abc import Iterator

from compressor.records.benchmark import BenchmarkReport, OperatorTime, Variant
from compressor.report.format import microseconds, plain, share
from compressor.report.table import Cell, Column, Table, row

NOTE = (
    "Microseconds of one call, by the runtime's own clock in sessions apart; nodes are after the runtime's fusions. "
    "Profiling takes time too, so the sum is not the latency."
)
REORDER_NOTE = "Reorders bring tensors into the blocked layout of convolutions and back."


def operator_table(benchmark: BenchmarkReport) -> Table:
    """One row per operator, what takes most time in the baseline first: nodes, time and share in every variant."""
    profiled = [variant for variant in benchmark.variants if variant.operators]
    columns = [Column("Operator", numeric=False)]
    for variant in profiled:
        columns += [Column(f"{plain(variant.name)} µs"), Column("share", spare=1), Column("nodes", spare=2)]
    operators = list(dict.fromkeys(one.operator for variant in profiled for one in variant.operators))
    rows = [row(name, *_cells(profiled, name)) for name in operators]
    if operators:
        rows.append(row("all", *_cells(profiled, None)))
    reorders = any(name.startswith("Reorder") for name in operators)
    caption = f"At batch {benchmark.settings.batches[0]}. {NOTE}{f' {REORDER_NOTE}' * reorders}"
    return Table("Time by operator", tuple(columns), tuple(rows), caption)


def _cells(variants: list[Variant], operator: str | None) -> Iterator[str | Cell]:
    """The three cells of each variant; of all its operators where none is named."""
    for variant in variants:
        of_it = [one for one in variant.operators if operator in (None, one.operator)]
        if not of_it:
            yield from ("", "", "")
            continue
        yield from (microseconds(_us(of_it)), share(_us(of_it), _us(variant.operators)), str(_nodes(of_it)))


def _us(operators: list[OperatorTime] | tuple[OperatorTime, ...]) -> float:
    return sum(one.us for one in operators)


def _nodes(operators: list[OperatorTime]) -> int:
    return sum(one.nodes for one in operators)
