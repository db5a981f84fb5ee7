"""The interleaved sampling loop: fresh sessions in pairs, rounds in A B B A order, drift cancelled.

It knows nothing of ONNX Runtime: a subject is a function that opens a session and returns its call.
Subject 0 is the baseline.
"""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from time import perf_counter_ns

Call = Callable[[], object]
Clock = Callable[[], int]

BLOCK_NS = 1_000_000  # a block of timed calls lasts at least this
LEAST_INNER = 3
LEAST_PAIRS = 2  # one pair has no interval
WISHED_PAIRS = 3  # rounds are cut to make room for so many
DOUBLINGS = 2
WARM_CALLS, WARM_NS = 10, 200_000_000


@dataclass(slots=True)
class Samples:
    """What was timed; the outer index of every list is the subject's."""

    log_ratios: list[list[float]]  # one per pair: median over rounds of log(time / baseline's time)
    calls_ns: list[list[int]]
    opens_ns: list[list[int]]
    rounds: int
    doubled: bool = False

    @property
    def pairs(self) -> int:
        """How many pairs were run."""
        return len(self.log_ratios[0])


@dataclass(slots=True, kw_only=True)
class _Loop:
    subjects: Sequence[Callable[[], Call]]
    seconds: float
    order: random.Random
    clock: Clock
    samples: Samples
    inner: list[int] = field(default_factory=list)
    started: int = 0
    longest_pair_ns: int = 0

    def time_for_a_pair(self) -> bool:
        if self.samples.pairs < LEAST_PAIRS:
            return True
        return self.clock() - self.started + self.longest_pair_ns <= self.seconds * 1e9

    def pair(self) -> None:
        start = self.clock()
        calls = self._open()
        per_call = [self._warm(call) for call in calls]
        if not self.inner:
            self._plan(per_call, self.clock() - start)
        gc.collect()
        gc.disable()
        try:
            rounds = [self._round(calls) for _ in range(self.samples.rounds)]
        finally:
            gc.enable()
        for index, ratios in enumerate(zip(*rounds, strict=True)):
            self.samples.log_ratios[index].append(median(ratios))
        self.longest_pair_ns = max(self.longest_pair_ns, self.clock() - start)

    def _open(self) -> list[Call]:
        opened: dict[int, Call] = {}
        for index in self._shuffled():
            start = self.clock()
            opened[index] = self.subjects[index]()
            self.samples.opens_ns[index].append(self.clock() - start)
        return [opened[index] for index in range(len(self.subjects))]

    def _warm(self, call: Call) -> float:
        start, times = self.clock(), list[int]()
        while not times or (len(times) < WARM_CALLS and self.clock() - start < WARM_NS):
            times.append(self._time(call))
        return median(times)

    def _plan(self, per_call: Sequence[float], overhead_ns: int) -> None:
        """Fix the block lengths, and cut first rounds, then blocks, where three pairs would not fit."""
        self.inner = [max(LEAST_INNER, math.ceil(BLOCK_NS / max(ns, 1))) for ns in per_call]
        round_ns = sum(2 * (1 + inner) * ns for inner, ns in zip(self.inner, per_call, strict=True))
        room = (self.seconds * 1e9 / WISHED_PAIRS - overhead_ns) / max(round_ns, 1)
        self.samples.rounds = max(1, min(self.samples.rounds, int(room)))
        if room < 1:
            self.inner = [1] * len(per_call)

    def _round(self, calls: Sequence[Call]) -> list[float]:
        """Log ratio to the baseline of every subject; running the order back cancels linear drift."""
        order = self._shuffled()
        logs: list[list[float]] = [[] for _ in calls]
        for index in (*order, *reversed(order)):
            logs[index].append(math.log(max(self._block(index, calls[index]), 1)))
        return [fmean(values) - fmean(logs[0]) for values in logs]

    def _block(self, index: int, call: Call) -> float:
        call()  # brings this model's weights back into the caches
        times = [self._time(call) for _ in range(self.inner[index])]
        self.samples.calls_ns[index].extend(times)
        return median(times)

    def _time(self, call: Call) -> int:
        start = self.clock()
        call()
        return self.clock() - start

    def _shuffled(self) -> list[int]:
        indices = list(range(len(self.subjects)))
        self.order.shuffle(indices)
        return indices


def sample(
    subjects: Sequence[Callable[[], Call]],
    *,
    pairs: int,
    rounds: int,
    seconds: float,
    order: random.Random,
    settled: Callable[[Sequence[Sequence[float]]], bool],
    tick: Callable[[int, int], None] = lambda done, wanted: None,
    clock: Clock = perf_counter_ns,
) -> Samples:
    """Time the subjects against the first of them within ``seconds``, but in two pairs at least.

    Pairs are doubled, twice at most, while ``settled(log_ratios)`` is false and time is left.
    """
    count = len(subjects)
    empty = Samples([[] for _ in range(count)], [[] for _ in range(count)], [[] for _ in range(count)], rounds)
    loop = _Loop(subjects=subjects, seconds=seconds, order=order, clock=clock, samples=empty, started=clock())
    for doubling in range(DOUBLINGS + 1):
        wanted = max(pairs, LEAST_PAIRS) << doubling
        while loop.samples.pairs < wanted and loop.time_for_a_pair():
            loop.samples.doubled = doubling > 0
            loop.pair()
            tick(loop.samples.pairs, wanted)
        if loop.samples.pairs < wanted or settled(loop.samples.log_ratios):
            break
    return loop.samples
