"""A benchmarked file as a record, and where what is known of it is incomplete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from compressor.benchmarking.onnx_file import Graph, fingerprint, measure_size
from compressor.benchmarking.placement import operator_times, provider_shares
from compressor.benchmarking.process import FileProfile, LatencyAnswer, ThroughputAnswer
from compressor.benchmarking.results import latency_of, load_time, throughput_of
from compressor.benchmarking.width_costs import Times, unaligned_layer
from compressor.records.benchmark import Memory, Throughput, Variant


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurements:
    """What was measured of all files, in their order; memory is by batch size, where the system tells."""

    graphs: Sequence[Graph]
    memories: Sequence[Mapping[int, Memory]]
    profiles: Sequence[FileProfile]
    widths: Times
    rates: ThroughputAnswer | None
    timed: LatencyAnswer


def variant(index: int, name: str, path: Path, batches: Sequence[int], found: Measurements) -> Variant:
    """The record of one file, the ``index``-th."""
    graph, memory = found.graphs[index], found.memories[index]
    profile = found.profiles[index] if found.profiles else None
    samples = [batch.calls_ns[index] for batch in found.timed.batches]
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
        providers_actual=found.timed.providers[index],
        load_ms=load_time([ns for batch in found.timed.batches for ns in batch.opens_ns[index]]),
        memory=memory.get(max(batches)),
        latency=tuple(map(latency_of, batches, samples)),
        unaligned_layers=tuple(unaligned_layer(one, found.widths) for one in graph.unaligned),
        operators=operator_times(profile.nodes) if profile is not None else (),
        providers=provider_shares(profile) if profile is not None else (),
        throughput=tuple(_throughput(index, batches, found)),
    )


def _throughput(index: int, batches: Sequence[int], found: Measurements) -> Iterator[Throughput]:
    if found.rates is not None:
        for batch, rates in zip(batches, found.rates.rates[index], strict=True):
            yield throughput_of(batch, rates, found.memories[index].get(batch))


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
