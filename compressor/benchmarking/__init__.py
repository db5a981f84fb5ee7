"""Latency, size and memory of ONNX files, side by side, with intervals and a control.

Everything is timed in a process without torch: fresh sessions in pairs, interleaved calls, and a second copy
of the baseline whose difference from the first is the noise floor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from compressor.benchmarking.environment import allowed_cpus, describe, load_average, timing_warnings
from compressor.benchmarking.load import Watch, busy_processors
from compressor.benchmarking.onnx_file import Graph, check_batch, read_graph, stored_bytes
from compressor.benchmarking.placement import check_placement
from compressor.benchmarking.process import (
    Answer,
    FileProfile,
    LatencyAnswer,
    LatencyTask,
    MemoryAnswer,
    MemoryTask,
    ProfileAnswer,
    ProfileTask,
    Subject,
    ThroughputAnswer,
    ThroughputTask,
    TrialTask,
    Zeros,
    request,
)
from compressor.benchmarking.results import BatchResult, batch_result
from compressor.benchmarking.variants import Measurements, graph_warnings, variant
from compressor.benchmarking.width_costs import Times, time_widths
from compressor.errors import CompressorError, UsageError
from compressor.progress import Progress, silent
from compressor.records.benchmark import BenchmarkReport, BenchmarkSettings, Memory, Variant
from compressor.runtime import choose

__all__ = ["benchmark", "check_settings", "try_out"]

MEMORY_SHARE = 0.1  # of the progress bar
PROFILE_SHARE, WIDTHS_SHARE, THROUGHPUT_SHARE = 0.1, 0.2, 0.2  # of the seconds, besides the timing
Task = LatencyTask | MemoryTask | ProfileTask | ThroughputTask
# A process is stopped after so many times the seconds that timing may take, or, where nothing is timed, so many.
PATIENCE, TRIAL_SECONDS = 10, 120
# Starting a process takes a while, however short the timing.
LEAST_SECONDS = 15.0


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
    allow_fallback: bool = False,
    details: bool = True,
    progress: Progress | None = None,
) -> BenchmarkReport:
    """Measure ONNX ``files`` beside each other; the first is the baseline.

    Timing takes ``max_seconds`` at most (but two session pairs per batch at least). Raises `UsageError` for
    settings and inputs that cannot be timed, `CheckpointError` for a file that is no ONNX model,
    `CompressorError` when a model cannot be run, or nodes that do more than compute shapes run on another provider
    than asked for and ``allow_fallback`` is not set. Without ``details`` it is not measured where the time goes, nor
    what widths off the fast path cost.
    """
    settings = BenchmarkSettings(
        provider=provider,
        threads=threads,
        batches=tuple(batches),
        pairs=pairs,
        rounds=rounds,
        seed=seed,
        max_seconds=max_seconds,
        allow_fallback=allow_fallback,
    )
    check_settings(settings)
    paths = [Path(file).absolute() for file in files]
    labels = labels_of(paths, names)
    started, clock, load, busy = datetime.now(UTC), time.monotonic(), load_average(), busy_processors()
    measured = measure(paths, labels, settings, progress or silent, details=details)
    environment = describe(load, busy, measured.busy)
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


@dataclass(frozen=True, slots=True)
class Measured:
    """The files, the verdicts of every batch size, what is doubtful, and how many processors others kept busy."""

    variants: tuple[Variant, ...]
    batches: tuple[BatchResult, ...]
    warnings: tuple[str, ...]
    busy: float | None


def measure(
    paths: Sequence[Path],
    labels: Sequence[str],
    settings: BenchmarkSettings,
    on_progress: Progress,
    *,
    details: bool = True,
) -> Measured:
    """Read, weigh and time the files."""
    graphs = _read(paths, settings, on_progress)
    subjects = tuple(
        Subject(str(path), graph.inputs, stored_bytes(path, graph.external))
        for path, graph in zip(paths, graphs, strict=True)
    )
    memories, warnings = _memories(subjects, settings, on_progress)
    on_progress(MEMORY_SHARE, "profile")
    profiles = _profiles(subjects, settings) if details or settings.provider != "cpu" else ()
    elsewhere = check_placement(labels, profiles, settings) if profiles else ()
    widths, untimed = _widths(graphs, settings, on_progress) if details else ({}, ())
    rates = _rates(subjects, settings) if len(settings.batches) > 1 else None
    watch = Watch()
    timed = _patient(
        LatencyTask(subjects, settings),
        LatencyAnswer,
        lambda share, text: on_progress(MEMORY_SHARE + (1 - MEMORY_SHARE) * share, text),
    )
    busy = watch.others()
    found = Measurements(graphs=graphs, memories=memories, profiles=profiles, widths=widths, rates=rates, timed=timed)
    variants = tuple(
        variant(index, label, path, settings.batches, found)
        for index, (label, path) in enumerate(zip(labels, paths, strict=True))
    )
    batches = tuple(
        batch_result(labels, batch, samples, settings.rounds)
        for batch, samples in zip(settings.batches, timed.batches, strict=True)
    )
    doubtful = [warning for batch in batches for warning in batch.warnings]
    return Measured(
        variants, batches, (*graph_warnings(labels, graphs), *elsewhere, *warnings, *untimed, *doubtful), busy
    )


def _read(paths: Sequence[Path], settings: BenchmarkSettings, on_progress: Progress) -> list[Graph]:
    graphs = []
    for path in paths:
        on_progress(0.0, f"reading {path.name}")
        graph = read_graph(path)
        for batch in settings.batches:
            check_batch(path.name, graph.inputs, batch)
        # Which widths are fast, is known of ONNX Runtime's own kernels.
        graphs.append(graph if settings.provider == "cpu" else replace(graph, unaligned=()))
    return graphs


def _profiles(subjects: tuple[Subject, ...], settings: BenchmarkSettings) -> tuple[FileProfile, ...]:
    seconds = PROFILE_SHARE * settings.max_seconds
    return _patient(ProfileTask(subjects, seconds, settings), ProfileAnswer, silent).files


def _widths(
    graphs: Sequence[Graph], settings: BenchmarkSettings, on_progress: Progress
) -> tuple[Times, tuple[str, ...]]:
    """What layers off the fast path take at other widths, and why that is not known."""
    found = [one for graph in graphs for one in graph.unaligned]
    seconds = WIDTHS_SHARE * settings.max_seconds
    try:
        return time_widths(
            found, settings, seconds=seconds, on_progress=lambda _, text: on_progress(MEMORY_SHARE, text)
        ), ()
    except CompressorError as error:
        return {}, (f"layers off the fast path were not timed: {error}",)


def _rates(subjects: tuple[Subject, ...], settings: BenchmarkSettings) -> ThroughputAnswer:
    return _patient(
        ThroughputTask(subjects, THROUGHPUT_SHARE * settings.max_seconds, settings), ThroughputAnswer, silent
    )


def _memories(
    subjects: Sequence[Subject], settings: BenchmarkSettings, on_progress: Progress
) -> tuple[list[dict[int, Memory]], list[str]]:
    """Memory of each file at each batch size, in a process of its own, and why there is none."""
    memories: list[dict[int, Memory]] = []
    for subject in subjects:
        on_progress(MEMORY_SHARE * len(memories) / len(subjects), f"memory of {Path(subject.path).name}")
        memories.append({})
        for batch in settings.batches:
            answer = _patient(MemoryTask(subject, batch, settings), MemoryAnswer, silent)
            added = answer.footprint
            if added is None:
                return [{} for _ in subjects], [f"memory was not measured: {answer.unavailable}"]
            memories[-1][batch] = Memory(
                session_bytes=added.session_bytes,
                run_peak_bytes=added.run_peak_bytes,
                method=f"VmRSS around opening a session, VmHWM over its first runs at batch {batch}",
            )
    return memories, []


def _patient(task: Task, answer: type[Answer], on_progress: Progress) -> Answer:
    seconds = max(LEAST_SECONDS, PATIENCE * task.settings.max_seconds)
    return request(task, answer, on_progress, seconds=seconds, lifted_by="; a larger --max-seconds gives more time")


def try_out(path: Path, external: Sequence[Path], shape: tuple[int, ...] | None, given: Sequence[Zeros] = ()) -> None:
    """Open ``path``, a checked ONNX file, in a process of its own, and run it on what is ``given`` of zeros.

    Without that on one image of ``shape``, if known.

    `CompressorError` when that fails, takes too long or too much memory: here it would take this process along.
    """
    task = TrialTask(str(path), shape, stored_bytes(path, external), tuple(given))
    request(task, bool, silent, seconds=TRIAL_SECONDS)
