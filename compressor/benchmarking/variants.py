"""A benchmarked file as a record, and where what is known of it is incomplete."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compressor.benchmarking.onnx_file import Graph, fingerprint, measure_size
from compressor.benchmarking.placement import operator_times, provider_shares
from compressor.benchmarking.process import FileProfile, LatencyAnswer
from compressor.benchmarking.results import latency_of, load_time
from compressor.benchmarking.width_costs import Times, unaligned_layer
from compressor.records.benchmark import Memory, Variant


def variant(
    name: str,
    path: Path,
    graph: Graph,
    memory: Memory | None,
    profile: FileProfile,
    widths: Times,
    batches: Sequence[int],
    timed: LatencyAnswer,
    index: int,
) -> Variant:
    """The record of one file, the ``index``-th of those that were timed."""
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
        unaligned_layers=tuple(unaligned_layer(one, widths) for one in graph.unaligned),
        operators=operator_times(profile.nodes),
        providers=provider_shares(profile),
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
