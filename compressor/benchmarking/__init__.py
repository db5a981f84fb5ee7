"""Latency, size and memory of ONNX files, side by side, with intervals and a control.

Everything is timed in a process without torch: fresh sessions in pairs, interleaved calls, and a second copy
of the baseline whose difference from the first is the noise floor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from compressor.benchmarking.environment import allowed_cpus, describe, load_average, timing_warnings
from compressor.benchmarking.measuring import measure
from compressor.errors import UsageError
from compressor.progress import Progress, silent
from compressor.records import BenchmarkReport, BenchmarkSettings
from compressor.runtime import choose

__all__ = ["benchmark", "check_settings"]


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
) -> BenchmarkReport:
    """Measure ONNX ``files`` beside each other; the first is the baseline.

    Timing takes ``max_seconds`` at most (but two session pairs per batch at least). Raises `UsageError` for
    settings and inputs that cannot be timed, `CheckpointError` for a file that is no ONNX model,
    `CompressorError` when a model cannot be run.
    """
    started, clock, load = datetime.now(UTC), time.monotonic(), load_average()
    settings = BenchmarkSettings(
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
    measured = measure(paths, labels_of(paths, names), settings, progress or silent)
    environment = describe(load)
    return BenchmarkReport(
        started=started.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - clock, 3),
        environment=environment,
        settings=settings,
        variants=measured.variants,
        comparisons=tuple(comparison for batch in measured.batches for comparison in batch.comparisons),
        controls=tuple(batch.control for batch in measured.batches),
        warnings=(*timing_warnings(environment, threads), *measured.warnings),
    )


def check_settings(settings: BenchmarkSettings) -> None:
    """Raise `UsageError` for settings that cannot be timed."""
    choose(settings.provider)
    for name, least in (("threads", 1), ("pairs", 2), ("rounds", 1)):
        if getattr(settings, name) < least:
            raise UsageError(f"{name} must be at least {least}, got {getattr(settings, name)}")
    cpus = len(allowed_cpus())
    if settings.threads > cpus:
        raise UsageError(f"threads must be at most {cpus}, the processors given, got {settings.threads}")
    if not 0 < settings.max_seconds < math.inf:
        raise UsageError(f"max_seconds must be positive and finite, got {settings.max_seconds}")
    distinct = len(set(settings.batches)) == len(settings.batches) > 0
    if not distinct or min(settings.batches) < 1:
        raise UsageError(f"batches must be distinct and at least 1, got {list(settings.batches)}")


def labels_of(paths: Sequence[Path], names: Sequence[str] | None) -> list[str]:
    """The names given, or the files' stems, numbered where they would be equal."""
    if not paths:
        raise UsageError("benchmark needs at least one file, got none")
    if names is not None:
        if len(names) != len(paths) or len(set(names)) != len(names):
            raise UsageError(f"names must be {len(paths)} distinct names, one per file, got {list(names)}")
        return list(names)
    labels: list[str] = []
    for path in paths:
        copies = (f"{path.stem}-{number}" for number in range(2, len(paths) + 2))
        labels.append(next(name for name in (path.stem, *copies) if name not in labels))
    return labels
