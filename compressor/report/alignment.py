"""Layers whose widths keep the runtime off its fast path, what they take, and what whole steps would take."""

from __future__ import annotations

from compressor.records.benchmark import BenchmarkReport, UnalignedLayer, WidthCost
from compressor.report.format import microseconds
from compressor.report.table import Column, Table, row

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
            rule(layer),
            "" if layer.us is None else microseconds(layer.us),
            *snapped(layer),
        )
        for variant in benchmark.variants
        for layer in variant.unaligned_layers
    )
    timed = any(layer.us is not None for variant in benchmark.variants for layer in variant.unaligned_layers)
    note = TIMED_NOTE.format(batch=benchmark.settings.batches[0]) if timed else ""
    return Table("Layers off the fast path", columns, rows, f"{NOTE}{note}".rstrip())


def rule(layer: UnalignedLayer) -> str:
    """What its width breaks: ``blocks of 16``."""
    return RULES[layer.rule].format(step=layer.step)


def snapped(layer: UnalignedLayer) -> tuple[str, str]:
    """The whole steps below and above, and how much longer they take: ``48: −24 %``; empty where there is none."""
    down = "".join(_change(layer, one) for one in layer.snapped if one.channels < layer.channels)
    up = "".join(_change(layer, one) for one in layer.snapped if one.channels > layer.channels)
    return down, up


def _change(layer: UnalignedLayer, step: WidthCost) -> str:
    if step.us is None or not layer.us:
        return str(step.channels)
    change = round(100 * (step.us / layer.us - 1))
    sign = "−" if change < 0 else "+" if change else "±"
    return f"{step.channels}: {sign}{abs(change)} %"
