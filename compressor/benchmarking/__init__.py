"""Latency, size and memory of ONNX files, side by side, with intervals and a control.

Everything is timed in a process without torch: fresh sessions in pairs, interleaved calls, and a second copy
of the baseline whose difference from the first is the noise floor.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from compressor.benchmarking.checks import check_settings, labels_of
from compressor.benchmarking.document import (
    SCHEMA_VERSION,
    Benchmark,
    Comparison,
    Environment,
    Latency,
    Load,
    Memory,
    Settings,
    Size,
    UnalignedLayer,
    Variant,
)
from compressor.benchmarking.environment import describe, doubts, load_average
from compressor.benchmarking.measuring import Progress, measure, silent
from compressor.benchmarking.providers import PROVIDERS, Provider, available

__all__ = [
    "PROVIDERS",
    "SCHEMA_VERSION",
    "Benchmark",
    "Comparison",
    "Environment",
    "Latency",
    "Load",
    "Memory",
    "Provider",
    "Settings",
    "Size",
    "UnalignedLayer",
    "Variant",
    "available",
    "benchmark",
]


def benchmark(
    files: Sequence[str | Path],
    *,
    names: Sequence[str] | None = None,
    batches: Sequence[int] = (1,),
    threads: int = 1,
    provider: str = "cpu",
    pairs: int = 8,
    rounds: int = 6,
    max_seconds: float = 60.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Benchmark:
    """Measure ONNX ``files`` beside each other; the first is the baseline.

    ``progress`` is called with the fraction done and what is being done. Timing takes ``max_seconds`` at most
    (but two session pairs per batch at least). Raises `UsageError` for settings and inputs that cannot be
    timed, `CheckpointError` for a file that is no ONNX model, `CompressorError` when a model cannot be run.
    """
    started, clock, load = datetime.now(UTC), time.monotonic(), load_average()
    settings = Settings(
        provider=provider,
        threads=threads,
        batches=tuple(batches),
        pairs=pairs,
        rounds=rounds,
        seed=seed,
        max_seconds=max_seconds,
    )
    check_settings(settings)
    paths = [Path(file).absolute() for file in files]
    labels = labels_of(paths, names)
    variants, judged, warnings = measure(paths, labels, settings, progress or silent)
    environment = describe(load)
    return Benchmark(
        started=started.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 3),
        environment=environment,
        settings=settings,
        variants=variants,
        comparisons=tuple(entry for batch in judged for entry in batch.comparisons),
        controls=tuple(batch.control for batch in judged),
        warnings=(*doubts(environment, threads), *warnings),
    )
