"""The parent's side of a benchmark: read the files, ask workers to run them, gather what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.benchmarking.graph import Graph, read_graph
from compressor.benchmarking.inputs import check_batch
from compressor.benchmarking.process import LatencyAnswer, LatencyTask, MemoryAnswer, MemoryTask, Subject, request
from compressor.benchmarking.results import BatchResult, batch_result, latency_of, load_time
from compressor.benchmarking.sizes import fingerprint, measure_size
from compressor.progress import Progress, silent
from compressor.records import BenchmarkSettings, Memory, Variant

MEMORY_SHARE = 0.1  # of the progress bar


@dataclass(frozen=True, slots=True)
class Measured:
    """The files as variants, the verdicts of every batch size, and what is doubtful."""

    variants: tuple[Variant, ...]
    batches: tuple[BatchResult, ...]
    warnings: tuple[str, ...]


def measure(
    paths: Sequence[Path], labels: Sequence[str], settings: BenchmarkSettings, on_progress: Progress
) -> Measured:
    """Read, weigh and time the files."""
    graphs = _read(paths, settings, on_progress)
    subjects = tuple(Subject(str(path), graph.inputs) for path, graph in zip(paths, graphs, strict=True))
    memories, warnings = _memories(subjects, settings, on_progress)
    timed = request(
        LatencyTask(subjects, settings),
        LatencyAnswer,
        lambda share, text: on_progress(MEMORY_SHARE + (1 - MEMORY_SHARE) * share, text),
    )
    variants = tuple(
        _variant(label, path, graph, memory, settings.batches, timed, index)
        for index, (label, path, graph, memory) in enumerate(zip(labels, paths, graphs, memories, strict=True))
    )
    batches = tuple(
        batch_result(labels, batch, samples, settings.rounds)
        for batch, samples in zip(settings.batches, timed.batches, strict=True)
    )
    doubtful = [warning for batch in batches for warning in batch.warnings]
    return Measured(variants, batches, (*graph_warnings(labels, graphs), *warnings, *doubtful))


def _read(paths: Sequence[Path], settings: BenchmarkSettings, on_progress: Progress) -> list[Graph]:
    graphs = []
    for path in paths:
        on_progress(0.0, f"reading {path.name}")
        graph = read_graph(path)
        for batch in settings.batches:
            check_batch(path.name, graph.inputs, batch)
        graphs.append(graph)
    return graphs


def _memories(
    subjects: Sequence[Subject], settings: BenchmarkSettings, on_progress: Progress
) -> tuple[list[Memory | None], list[str]]:
    """Memory of each file in a process of its own, and why there is none."""
    batch = max(settings.batches)
    method = f"VmRSS around opening a session, VmHWM over its first runs at batch {batch}"
    memories: list[Memory | None] = []
    for subject in subjects:
        on_progress(MEMORY_SHARE * len(memories) / len(subjects), f"memory of {Path(subject.path).name}")
        answer = request(MemoryTask(subject, batch, settings), MemoryAnswer, silent)
        added = answer.footprint
        if added is None:
            return [None] * len(subjects), [f"memory was not measured: {answer.unavailable}"]
        memories.append(Memory(session_bytes=added.session_bytes, run_peak_bytes=added.run_peak_bytes, method=method))
    return memories, []


def _variant(
    name: str,
    path: Path,
    graph: Graph,
    memory: Memory | None,
    batches: Sequence[int],
    timed: LatencyAnswer,
    index: int,
) -> Variant:
    return Variant(
        name=name,
        path=path.name,
        sha256=fingerprint(path, graph.external),
        opset=graph.opset,
        exporter=graph.metadata.get("compressor.exporter"),
        macs=graph.macs,
        parameters=graph.parameters,
        parameters_nonzero=graph.parameters_nonzero,
        size=measure_size(path, graph.external),
        metadata=graph.metadata,
        providers_actual=timed.providers[index],
        load_ms=load_time([ns for samples in timed.batches for ns in samples.opens_ns[index]]),
        memory=memory,
        latency=tuple(
            latency_of(batch, samples.calls_ns[index]) for batch, samples in zip(batches, timed.batches, strict=True)
        ),
        unaligned_layers=graph.unaligned,
    )


def graph_warnings(labels: Sequence[str], graphs: Sequence[Graph]) -> list[str]:
    """Say where the facts of the files are incomplete or do not compare."""
    warnings = []
    for label, graph in zip(labels, graphs, strict=True):
        if graph.macs is None:
            warnings.append(f"{label}: MACs are unknown, because shapes cannot be inferred")
        elif graph.uncounted:
            warnings.append(f"{label}: MACs leave out {', '.join(graph.uncounted)}")
        if _samples(graph) != _samples(graphs[0]):
            warnings.append(f"{label} takes inputs of other shapes than {labels[0]}")
    return warnings


def _samples(graph: Graph) -> list[tuple[int | None, ...]]:
    """Input shapes without the batch, which may be open in one file and fixed in another."""
    return sorted(entry.shape[1:] for entry in graph.inputs)
