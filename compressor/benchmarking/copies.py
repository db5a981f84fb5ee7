"""The time of a layer by itself: that of several copies of it minus that of one, or of one minus that of none.

What happens once in a call, as a change of the layout of its input, is in both and falls out. The runtime's own clock
would not do: it counts whole microseconds, of which a narrow layer takes a few. As many copies as the network could
hold, because weights that stay in a cache are read several times faster than those that do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from compressor.benchmarking.layer_models import INPUT, input_shape, layer_model
from compressor.benchmarking.process import LayerAt
from compressor.records.benchmark import BenchmarkSettings
from compressor.records.costs import MOST_COPIES
from compressor.runtime import session_in_memory

# Runs with and without: fewer of those that take long, but not below LEAST.
WARM, LEAST, MOST, ENOUGH_NS = 3, 6, 40, 60_000_000
# How often a layer is run at least for one time of it.
LEAST_RUNS = (WARM + LEAST) * (MOST_COPIES + 1)


def layer_us(one: LayerAt, batch: int, settings: BenchmarkSettings) -> float:
    """Microseconds of the layer at these widths, in fresh sessions."""
    shape = input_shape(one.layer, one.inputs, batch)
    feed = {INPUT: np.random.default_rng(settings.seed).standard_normal(shape).astype(np.float32)}

    def call(copies: int) -> Callable[[], object]:
        model = layer_model(one.layer, one.inputs, one.outputs, batch, copies)
        session = session_in_memory(model, provider=settings.provider, threads=settings.threads)
        return lambda: session.run(None, feed)

    copies = one.layer.copies
    beside = min(1, copies - 1)
    alone, together = call(beside), call(copies)
    for _ in range(WARM):
        alone(), together()
    times, began = list[tuple[int, int]](), time.perf_counter_ns()
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter_ns() - began < ENOUGH_NS):
        times.append((_timed(alone), _timed(together)))
    few, many = (_undisturbed(list(column)) for column in zip(*times, strict=True))
    return max(0.0, many - few) / (copies - beside) / 1000


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _undisturbed(times_ns: list[int]) -> float:
    """The mean of the faster half: the others were disturbed."""
    return float(np.mean(sorted(times_ns)[: max(1, len(times_ns) // 2)]))
