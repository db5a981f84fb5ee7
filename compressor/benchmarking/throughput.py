"""How many items a second a session takes when the next call starts as soon as the last one has ended."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from time import perf_counter_ns

from compressor.benchmarking.latency import Call, Clock

ROUNDS, LEAST_ROUNDS = 5, 2
WARM_CALLS, LEAST_CALLS = 2, 2
PATIENCE = 2


def throughput(
    subjects: Sequence[Callable[[], Call]],
    items: Sequence[int],
    *,
    seconds: float,
    order: random.Random,
    clock: Clock = perf_counter_ns,
) -> list[list[float]]:
    """Items a second of each subject, one value a round, each in a fresh session and in another order.

    A call of a subject is ``items`` of them. The loops take ``seconds`` together; where opening and warming take longer
    than that, there are fewer rounds, but two at least.
    """
    rates: list[list[float]] = [[] for _ in subjects]
    began, each = clock(), seconds * 1e9 / ROUNDS / max(len(subjects), 1)
    for number in range(ROUNDS):
        if number >= LEAST_ROUNDS and clock() - began > PATIENCE * seconds * 1e9:
            break
        for index in order.sample(range(len(subjects)), len(subjects)):
            rates[index].append(items[index] * _calls_per_second(subjects[index](), each, clock))
    return rates


def _calls_per_second(call: Call, nanoseconds: float, clock: Clock) -> float:
    for _ in range(WARM_CALLS):
        call()
    began, calls = clock(), 0
    while calls < LEAST_CALLS or clock() - began < nanoseconds:
        call()
        calls += 1
    return calls / max(clock() - began, 1) * 1e9
