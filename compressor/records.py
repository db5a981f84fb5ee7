"""Every result, from where it is measured to where it is printed: frozen, typed, the source of the JSON schema.

Names in ``_ms`` are milliseconds, in ``_s`` seconds, in ``_bytes`` bytes; None is what was not measured or not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

from compressor import __version__

SCHEMA_VERSION = 2

Verdict = Literal["faster", "slower", "same", "inconclusive"]
Interval = tuple[float, float]


class Record(Struct, frozen=True, kw_only=True):
    """Base of all results. A field that a newer version may have added is ignored when an older one reads it."""


class Tool(Record, frozen=True, kw_only=True):
    """Which program wrote the document."""

    name: str = "compressor"
    version: str = __version__


class Metric(Record, frozen=True, kw_only=True):
    """How well a network does its task on ``n`` samples; a share lies in [0, 1], ``ci95`` is its 95 % interval."""

    name: str = "accuracy"
    unit: str = "share"
    direction: Literal["higher", "lower"] = "higher"
    value: float
    n: int | None
    ci95: Interval | None = None


class Sparsity(Record, frozen=True, kw_only=True):
    """Shares of zero weights, and of groups ("neurons") of zero weights."""

    weights: float
    groups: float


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


class UnalignedLayer(Record, frozen=True, kw_only=True):
    """A convolution whose channel count drops the next one out of the runtime's fast layout."""

    name: str
    channels: int


class Variant(Record, frozen=True, kw_only=True):
    """One benchmarked file: what it is, what it weighs, how long it takes."""

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


class Target(Record, frozen=True, kw_only=True):
    """A share of the dense network's cost that was asked for, and what was reached."""

    kind: Literal["macs", "params"]
    asked: float
    reached: float
    met: bool


class Epoch(Record, frozen=True, kw_only=True):
    """Figures of one epoch; ``lr_halved`` when it diverged and was undone: then there is no loss."""

    epoch: int
    loss: float | None
    validation: Metric | None
    macs_kept: float | None
    beta: float | None
    gap: float | None
    lr_halved: bool = False


class Removal(Record, frozen=True, kw_only=True):
    """What was removed; differences are the largest absolute ones relative to the output scale."""

    float64: float
    float32: float
    float64_limit: float
    float32_limit: float
    inputs: str
    channels_removed: int
    channels_total: int


class LayerChange(Record, frozen=True, kw_only=True):
    """Output channels and MACs of one layer before and after removal."""

    name: str
    before: int
    after: int
    macs_before: int
    macs_after: int


class Parity(Record, frozen=True, kw_only=True):
    """How close an exported file's outputs are to PyTorch's."""

    max_abs: float
    norm_rel: float
    sqnr_db: float | None
    top1_agreement: float | None
    inputs: str


class Export(Record, frozen=True, kw_only=True):
    """An exported file that passed its checks; ``fallback`` says why the first exporter was not used."""

    variant: str
    exporter: str
    opset: int
    fallback: str | None = None
    parity: Parity


class StageRow(Record, frozen=True, kw_only=True):
    """The network after one stage of a run; ``variant`` names it in the benchmark."""

    stage: str
    variant: str | None = None
    metric: Metric | None
    macs: int
    parameters: int
    size_bytes: int | None
    note: str = ""


class TrainingEpoch(Epoch, frozen=True, kw_only=True):
    """An epoch of a run, and the stage that it belongs to."""

    phase: str


class RunReport(Record, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """A whole run: every stage, what was proven on the way, and the benchmark of what it ended with."""

    schema_version: int = SCHEMA_VERSION
    tool: Tool = field(default_factory=Tool)
    started: str
    duration_s: float
    command: str
    settings: Mapping[str, Any]
    stages: tuple[StageRow, ...]
    removal: Removal | None
    gap: float | None
    target: Target | None
    export: tuple[Export, ...]
    layers: tuple[LayerChange, ...]
    training: tuple[TrainingEpoch, ...]
    benchmark: BenchmarkReport | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


Report = RunReport | BenchmarkReport
