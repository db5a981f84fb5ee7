"""What layers cost at the widths where their staircases have steps, measured in the benchmark's own process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from compressor.benchmarking.process import LayerAt, LayersAnswer, LayersTask, request
from compressor.progress import Progress
from compressor.records.benchmark import BenchmarkSettings
from compressor.records.costs import Layer, LayerCosts

Widths = tuple[tuple[int, ...], tuple[int, ...]]
# How often each width is timed, in a fresh session; a process is stopped after so many seconds for each time.
PASSES, PATIENCE, LEAST_SECONDS = 3, 5.0, 60.0
# The median's standard error is larger than the mean's by this factor, for numbers from a normal distribution.
OF_MEDIAN = math.sqrt(math.pi / 2)


def layer_costs(
    wanted: Mapping[Layer, Widths],
    *,
    batch: int,
    settings: BenchmarkSettings,
    on_progress: Progress,
) -> tuple[LayerCosts, ...]:
    """The time of every layer at all pairs of its inputs and outputs; a depthwise one has as many of both.

    Raises `CompressorError` when a layer cannot be run.
    """
    places = [(layer, inputs, outputs) for layer, widths in wanted.items() for inputs, outputs in _pairs(layer, widths)]
    if not places:
        return ()
    task = LayersTask(tuple(LayerAt(*place) for place in places), batch, PASSES, settings)
    seconds = max(LEAST_SECONDS, PATIENCE * PASSES * len(places))
    answer = request(task, LayersAnswer, on_progress, seconds=seconds)
    times = dict(zip(places, answer.us, strict=True))
    return tuple(_costs(layer, widths, times) for layer, widths in wanted.items())


def _pairs(layer: Layer, widths: Widths) -> list[tuple[int, int]]:
    if layer.kind == "depthwise":
        return [(width, width) for width in widths[1]]
    return [(inputs, outputs) for inputs in widths[0] for outputs in widths[1]]


def _costs(layer: Layer, widths: Widths, times: Mapping[tuple[Layer, int, int], Sequence[float]]) -> LayerCosts:
    inputs, outputs = widths
    once = layer.kind == "depthwise"
    rows = [[(w, w) for w in outputs]] if once else [[(i, o) for o in outputs] for i in inputs]
    known = [[times[layer, i, o] for i, o in row] for row in rows]
    return LayerCosts(
        layer=layer,
        inputs=inputs,
        outputs=outputs,
        us=tuple(tuple(float(np.median(one)) for one in row) for row in known),
        ci95=tuple(tuple(_half_width(one) for one in row) for row in known),
    )


def _half_width(times: Sequence[float]) -> float:
    """Half of the 95 % interval of the median."""
    return float(NormalDist().inv_cdf(0.975) * OF_MEDIAN * np.std(times, ddof=1) / math.sqrt(len(times)))
