"""The parent's side of a run: read the files, ask workers to run them, gather what they found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressor.benchmarking.document import Memory, Settings, Variant
from compressor.benchmarking.graph import Graph, read_graph
from compressor.benchmarking.inputs import check_batch
from compressor.benchmarking.process import ask
from compressor.benchmarking.results import Batch, Timed, compare, latency_of, load_of, timed_of
from compressor.benchmarking.sizes import fingerprint, measure_size

Progress = Callable[[float, str], None]

MEMORY_SHARE = 0.1  # of the progress bar


def measure(
    paths: Sequence[Path], labels: Sequence[str], settings: Settings, say: Progress
) -> tuple[tuple[Variant, ...], list[Batch], list[str]]:
    """Read, weigh and time the files; gives variants, judged batches and warnings."""
    graphs = _read(paths, settings, say)
    memories, warnings = _memories(paths, graphs, settings, say)
    found = ask(
        {"task": "latency", "files": _requests(paths, graphs), **asdict(settings)},
        lambda done, text: say(MEMORY_SHARE + (1 - MEMORY_SHARE) * done, text),
    )
    variants = tuple(
        _variant(label, path, graph, memory, settings.batches, timed_of(found, index))
        for index, (label, path, graph, memory) in enumerate(zip(labels, paths, graphs, memories, strict=True))
    )
    judged = [
        compare(labels, batch, samples, settings.rounds)
        for batch, samples in zip(settings.batches, found["batches"], strict=True)
    ]
    doubtful = [warning for batch in judged for warning in batch.warnings]
    return variants, judged, [*graph_warnings(labels, graphs), *warnings, *doubtful]


def silent(done: float, text: str) -> None:
    """Report no progress."""


def _read(paths: Sequence[Path], settings: Settings, say: Progress) -> list[Graph]:
    graphs = []
    for path in paths:
        say(0.0, f"reading {path.name}")
        graph = read_graph(path)
        for batch in settings.batches:
            check_batch(path.name, graph.inputs, batch)
        graphs.append(graph)
    return graphs


def _requests(paths: Sequence[Path], graphs: Sequence[Graph]) -> list[dict[str, Any]]:
    return [
        {"path": str(path), "inputs": [asdict(entry) for entry in graph.inputs]}
        for path, graph in zip(paths, graphs, strict=True)
    ]


def _memories(
    paths: Sequence[Path], graphs: Sequence[Graph], settings: Settings, say: Progress
) -> tuple[list[Memory | None], list[str]]:
    """Memory of each file in a process of its own, and why there is none."""
    batch = max(settings.batches)
    method = f"VmRSS around opening a session, VmHWM over its first runs at batch {batch}"
    memories: list[Memory | None] = []
    for path, request in zip(paths, _requests(paths, graphs), strict=True):
        say(MEMORY_SHARE * len(memories) / len(paths), f"memory of {path.name}")
        found = ask({"task": "memory", "files": [request], "batch": batch, **asdict(settings)}, silent)
        if "unavailable" in found:
            return [None] * len(paths), [f"memory was not measured: {found['unavailable']}"]
        memories.append(Memory(**found, method=method))
    return memories, []


def _variant(
    name: str,
    path: Path,
    graph: Graph,
    memory: Memory | None,
    batches: Sequence[int],
    timed: Timed,
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
        providers_actual=timed.providers,
        load_ms=load_of(timed.opens_ns),
        memory=memory,
        latency=tuple(latency_of(b, calls) for b, calls in zip(batches, timed.calls_ns, strict=True)),
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
