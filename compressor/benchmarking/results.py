"""From what the worker timed to the records of the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from compressor.benchmarking.latency import Samples
from compressor.benchmarking.statistics import RULE, Interval, control_verdict, differs, interval, verdict
from compressor.records.benchmark import Comparison, Latency, LoadTime, Memory, Throughput, Verdict

# Fewest samples that bound a percentile at LoadGen's confidence (MLPerf inference rules).
LEAST_P90, LEAST_P95, LEAST_P99 = 64, 64, 662
FEW_PAIRS = 3


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One batch size: comparisons in the order of the variants, the control, and what is doubtful."""

    comparisons: tuple[Comparison, ...]
    control: Comparison
    warnings: tuple[str, ...]


def load_time(opens_ns: Sequence[int]) -> LoadTime:
    """Summary of session openings, in milliseconds."""
    times = np.asarray(opens_ns) / 1e6
    return LoadTime(p50=float(np.median(times)), min=float(times.min()), n=len(times))


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


def throughput_of(batch: int, rates: Sequence[float], memory: Memory | None) -> Throughput:
    """Summary of closed loops at one batch size, with what a process of its own needed at most."""
    measured = interval(np.log(rates).tolist())
    return Throughput(
        batch=batch,
        items_per_s=measured.ratio,
        ci95=(measured.low, measured.high),
        loops=len(rates),
        peak_bytes=memory.session_bytes + memory.run_peak_bytes if memory is not None else None,
    )


def batch_result(names: Sequence[str], batch: int, samples: Samples, rounds: int) -> BatchResult:
    """Verdicts at one batch size; the last subject of ``samples`` is the control, the baseline's second copy."""
    *variants, control = (interval(row) for row in samples.log_ratios[1:])

    def record(index: int, measured: Interval, stated: Verdict) -> Comparison:
        return Comparison(
            variant=names[index],
            baseline=names[0],
            batch=batch,
            ratio=measured.ratio,
            ci95=(measured.low, measured.high),
            speedup=1 / measured.ratio,
            speedup_ci95=(1 / measured.high, 1 / measured.low),
            pairs=samples.pairs,
            rounds=samples.rounds,
            noise_floor=control.half_width,
            verdict=stated,
            rule=RULE,
            sequential=samples.doubled,
        )

    return BatchResult(
        comparisons=tuple(record(i, variant, verdict(variant, control)) for i, variant in enumerate(variants, start=1)),
        control=record(0, control, control_verdict(control)),
        warnings=tuple(_warnings(batch, samples, control, rounds)),
    )


def _warnings(batch: int, samples: Samples, control: Interval, rounds: int) -> Iterator[str]:
    if differs(control_verdict(control)):
        yield (
            f"batch {batch}: the run is too noisy to trust: the baseline differs from its own copy by "
            f"{abs(control.ratio - 1):.1%}, so every verdict is inconclusive"
        )
    if samples.pairs < FEW_PAIRS:
        yield f"batch {batch}: only {samples.pairs} session pairs fitted the time allowed; raise the limit"
    if samples.rounds < rounds:
        yield f"batch {batch}: {samples.rounds} of {rounds} rounds fitted the time allowed"
