"""The time of a layer by itself: that of several copies of it minus that of one.

What happens once in a call, as a change of the layout of its input, is in both and falls out. The runtime's own clock
would not do: it counts whole microseconds, of which a narrow layer takes a few.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from compressor.benchmarking.layer_models import INPUT, input_shape, layer_model
from compressor.benchmarking.process import LayerAt
from compressor.records.benchmark import BenchmarkSettings
from compressor.runtime import session_in_memory

# Copies beside the one that is taken off, and runs of both: fewer of those that take long, but not below LEAST.
COPIES, WARM, LEAST, MOST, ENOUGH_NS = 4, 3, 6, 40, 60_000_000
# How often a layer is run at least for one time of it.
LEAST_RUNS = (WARM + LEAST) * (COPIES + 2)


def layer_us(one: LayerAt, batch: int, settings: BenchmarkSettings) -> float:
    """Microseconds of the layer at these widths, in fresh sessions."""
    shape = input_shape(one.layer, one.inputs, batch)
    feed = {INPUT: np.random.default_rng(settings.seed).standard_normal(shape).astype(np.float32)}

    def call(copies: int) -> Callable[[], object]:
        model = layer_model(one.layer, one.inputs, one.outputs, batch, copies)
        session = session_in_memory(model, provider=settings.provider, threads=settings.threads)
        return lambda: session.run(None, feed)

    alone, together = call(1), call(1 + COPIES)
    for _ in range(WARM):
        alone(), together()
    times, began = list[tuple[int, int]](), time.perf_counter_ns()
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter_ns() - began < ENOUGH_NS):
        times.append((_timed(alone), _timed(together)))
    few, many = (_undisturbed(list(column)) for column in zip(*times, strict=True))
    return max(0.0, many - few) / COPIES / 1000


def _timed(call: Callable[[], object]) -> int:
    start = time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - start


def _undisturbed(times_ns: list[int]) -> float:
    """The mean of the faster half: the others were disturbed."""
    return float(np.mean(sorted(times_ns)[: max(1, len(times_ns) // 2)]))
