"""Layers whose widths keep the runtime off its fast path, what they take, and what whole steps would take."""

from __future__ import annotations

from compressor.records.benchmark import BenchmarkReport, UnalignedLayer, WidthCost
from compressor.report.format import microseconds
from compressor.report.table import Cell, Column, Table, row

RULES = {"layout": "read in fours", "block": "blocks of {step}"}
NOTE = (
    "Convolutions make their outputs in whole blocks of channels, so that a narrower layer pays for a whole one, and "
    "read their inputs in fours: any other width drops the next convolution out of the fast layout. "
)
TIMED_NOTE = (
    "Microseconds of the layer, and of the convolutions that read nothing else, each timed by itself at batch {batch}; "
    "what else a change of the width would touch is not in them."
)


def alignment_table(benchmark: BenchmarkReport) -> Table:
    """One row per layer off the fast path: its width, the rule, its time, and the time at the steps beside it."""
    columns = (
        Column("Variant", numeric=False, spare=1),
        Column("Layer", numeric=False, wraps=True),
        Column("Channels"),
        Column("Rule", numeric=False),
        Column("µs"),
        Column("Snapped down"),
        Column("Snapped up"),
    )
    rows = tuple(
        row(
            variant.name,
            layer.name,
            str(layer.channels),
            RULES[layer.rule].format(step=layer.step),
            "" if layer.us is None else microseconds(layer.us),
            _snapped(layer, [one for one in layer.snapped if one.channels < layer.channels]),
            _snapped(layer, [one for one in layer.snapped if one.channels > layer.channels]),
        )
        for variant in benchmark.variants
        for layer in variant.unaligned_layers
    )
    timed = any(layer.us is not None for variant in benchmark.variants for layer in variant.unaligned_layers)
    note = TIMED_NOTE.format(batch=benchmark.settings.batches[0]) if timed else ""
    return Table("Layers off the fast path", columns, rows, f"{NOTE}{note}".rstrip())


def _snapped(layer: UnalignedLayer, widths: list[WidthCost]) -> Cell:
    """The width, and how much longer it takes: ``16: −43 %``."""
    if not widths:
        return Cell("")
    (one,) = widths
    if one.us is None or not layer.us:
        return Cell(str(one.channels))
    change = round(100 * (one.us / layer.us - 1))
    sign = "−" if change < 0 else "+" if change else "±"
    return Cell(f"{one.channels}: {sign}{abs(change)} %")
