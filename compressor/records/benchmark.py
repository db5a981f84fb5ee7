"""What a benchmark measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from compressor.records import SCHEMA_VERSION, Interval, Record, Tool

Verdict = Literal["faster", "slower", "same", "inconclusive"]
WidthRule = Literal["layout", "block"]
"""Why a width is slow: the next convolution leaves the blocked layout, or the last block of outputs is not full."""


class Environment(Record, frozen=True, kw_only=True):
    """The machine that a benchmark ran on, and its software."""

    cpu_model: str | None
    arch: str | None = None
    flags: tuple[str, ...]
    logical_cpus: int | None = None
    physical_cpus: int | None = None
    affinity: tuple[int, ...]
    governor: str | None = None
    virtualised: bool | None = None
    load_before: tuple[float, ...] = ()
    load_after: tuple[float, ...] = ()
    busy_before: float | None = None
    busy_during: float | None = None
    memory_total_bytes: int | None = None
    os: str | None = None
    kernel: str | None = None
    python: str | None = None
    onnxruntime: str
    onnx: str | None = None
    cpu_quota: float | None = None


class BenchmarkSettings(Record, frozen=True, kw_only=True):
    """What a benchmark was asked for."""

    provider: str
    threads: int
    batches: tuple[int, ...]
    pairs: int = 8
    rounds: int = 6
    seed: int = 0
    max_seconds: float = 60.0
    graph_optimization: str = "all"
    spinning: bool = False
    allow_fallback: bool = False


class FileSize(Record, frozen=True, kw_only=True):
    """Bytes on disk, and after ``gzip -6``."""

    onnx_bytes: int
    external_bytes: int
    gzip_bytes: int


class LoadTime(Record, frozen=True, kw_only=True):
    """Time to open a session, in milliseconds."""

    p50: float
    min: float
    n: int


class Memory(Record, frozen=True, kw_only=True):
    """Resident bytes that the session adds, and that running adds at its peak."""

    session_bytes: float
    run_peak_bytes: float
    method: str


class Latency(Record, frozen=True, kw_only=True):
    """Time of one call at one batch size; a percentile is None where the samples are too few to claim it."""

    batch: int
    n: int
    min_ms: float
    p50_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float


class WidthCost(Record, frozen=True, kw_only=True):
    """What a layer would take at another width, in microseconds; None where that was not timed."""

    channels: int
    us: float | None = None


class UnalignedLayer(Record, frozen=True, kw_only=True):
    """A convolution whose ``channels`` are no whole ``step``, and so slower by a ``rule`` than they could be.

    ``us`` is what it and the layers that read nothing else take by themselves, ``snapped`` the same at the whole steps
    below and above.
    """

    name: str
    channels: int
    rule: WidthRule = "layout"
    step: int = 4
    us: float | None = None
    snapped: tuple[WidthCost, ...] = ()


class Throughput(Record, frozen=True, kw_only=True):
    """Items a second of one session in a closed loop at one batch size, and the bytes that it needs at its peak."""

    batch: int
    items_per_s: float
    ci95: Interval
    loops: int
    peak_bytes: float | None = None


class OperatorTime(Record, frozen=True, kw_only=True):
    """All nodes of one operator on one provider: how many, and the microseconds that they take together in a call."""

    operator: str
    provider: str
    nodes: int
    us: float


class ProviderShare(Record, frozen=True, kw_only=True):
    """What one provider really ran: nodes of the graph, those of them that only compute shapes, and microseconds."""

    provider: str
    nodes: int
    shape_nodes: int = 0
    us: float


class Variant(Record, frozen=True, kw_only=True):
    """One benchmarked file: what it is, what it weighs, how long it takes.

    ``memory`` is at the largest batch size; ``operators`` and ``providers`` are from a profile of their own, at the
    first. ``throughput`` is measured where there are several.
    """

    name: str
    path: str = ""
    sha256: str
    opset: int | None
    exporter: str | None
    macs: int | None
    parameters: int | None
    parameters_nonzero: int | None
    size: FileSize
    metadata: Mapping[str, str] = {}
    providers_actual: tuple[str, ...]
    load_ms: LoadTime
    memory: Memory | None
    latency: tuple[Latency, ...]
    unaligned_layers: tuple[UnalignedLayer, ...]
    operators: tuple[OperatorTime, ...] = ()
    providers: tuple[ProviderShare, ...] = ()
    throughput: tuple[Throughput, ...] = ()


class Comparison(Record, frozen=True, kw_only=True):
    """A variant beside the baseline at one batch size; ``ratio`` is its latency over the baseline's."""

    variant: str
    baseline: str
    batch: int
    ratio: float
    ci95: Interval
    speedup: float
    speedup_ci95: Interval
    pairs: int
    rounds: int
    noise_floor: float | None
    verdict: Verdict
    rule: str
    sequential: bool


class BenchmarkReport(Record, frozen=True, kw_only=True, tag_field="kind", tag="benchmark"):
    """A whole benchmark: the first variant is the baseline, the controls compare it with itself."""

    schema_version: int = SCHEMA_VERSION
    tool: Tool = field(default_factory=Tool)
    started: str
    duration_s: float
    environment: Environment
    settings: BenchmarkSettings
    variants: tuple[Variant, ...]
    comparisons: tuple[Comparison, ...]
    controls: tuple[Comparison, ...]
    warnings: tuple[str, ...]
