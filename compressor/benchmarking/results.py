"""From what the worker timed to the records of the document."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compressor.benchmarking.document import Comparison, Latency, Load
from compressor.benchmarking.statistics import RULE, Verdict, control_verdict, differs, interval, judge

# Fewest samples that bound a percentile at LoadGen's confidence (MLPerf inference rules).
LEAST_P90, LEAST_P95, LEAST_P99 = 64, 64, 662
FEW_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch size: comparisons in the order of the variants, the control, and what is doubtful."""

    comparisons: tuple[Comparison, ...]
    control: Comparison
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timed:
    """The raw times of one variant; ``calls_ns`` has one row per batch size."""

    providers: tuple[str, ...]
    opens_ns: list[int]
    calls_ns: list[list[int]]


def timed_of(found: Mapping[str, Any], index: int) -> Timed:
    """Pick the times of variant ``index`` out of the worker's answer."""
    return Timed(
        providers=tuple(found["providers"][index]),
        opens_ns=[ns for samples in found["batches"] for ns in samples["opens_ns"][index]],
        calls_ns=[samples["calls_ns"][index] for samples in found["batches"]],
    )


def load_of(opens_ns: Sequence[int]) -> Load:
    """Summary of session openings, in milliseconds."""
    times = np.asarray(opens_ns) / 1e6
    return Load(p50=float(np.median(times)), min=float(times.min()), n=len(times))


def latency_of(batch: int, calls_ns: Sequence[int]) -> Latency:
    """Summary of single calls, with the percentiles that so many samples can claim."""
    times = np.asarray(calls_ns) / 1e6

    def percentile(rank: float, least: int) -> float | None:
        return float(np.percentile(times, rank)) if len(times) >= least else None

    return Latency(
        batch=batch,
        n=len(times),
        min_ms=float(times.min()),
        p50_ms=float(np.median(times)),
        p90_ms=percentile(90, LEAST_P90),
        p95_ms=percentile(95, LEAST_P95),
        p99_ms=percentile(99, LEAST_P99),
        mean_ms=float(times.mean()),
    )


def compare(names: Sequence[str], batch: int, found: Mapping[str, Any], rounds: int) -> Batch:
    """Judge one batch size; ``found`` is the worker's `latency.Samples` as plain data, its control last."""
    *variants, control = (interval(row) for row in found["log_ratios"][1:])

    def record(index: int, what: Any, said: Verdict) -> Comparison:
        return Comparison(
            variant=names[index],
            baseline=names[0],
            batch=batch,
            ratio=what.ratio,
            ci95=(what.low, what.high),
            speedup=1 / what.ratio,
            speedup_ci95=(1 / what.high, 1 / what.low),
            pairs=len(found["log_ratios"][0]),
            rounds=found["rounds"],
            noise_floor=control.half_width,
            verdict=said,
            rule=RULE,
            sequential=found["doubled"],
        )

    return Batch(
        comparisons=tuple(record(i, v, judge(v, control)) for i, v in enumerate(variants, start=1)),
        control=record(0, control, control_verdict(control)),
        warnings=tuple(_doubts(batch, found, control, rounds)),
    )


def _doubts(batch: int, found: Mapping[str, Any], control: Any, rounds: int) -> Iterator[str]:
    if differs(control_verdict(control)):
        yield (
            f"batch {batch}: the run is too noisy to trust: the baseline differs from its own copy by "
            f"{math.fabs(control.ratio - 1):.1%}, so every verdict is inconclusive"
        )
    pairs = len(found["log_ratios"][0])
    if pairs < FEW_PAIRS:
        yield f"batch {batch}: only {pairs} session pairs fitted the time allowed; raise the limit"
    if found["rounds"] < rounds:
        yield f"batch {batch}: {found['rounds']} of {rounds} rounds fitted the time allowed"
