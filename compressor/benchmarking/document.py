"""What a benchmark found, and the JSON document that it is kept in.

``Benchmark.to_plain`` gives dictionaries, lists, numbers and strings; ``Benchmark.from_plain`` takes them
back and refuses anything that is not such a document. Names ending in ``_ms`` are milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from compressor import __version__
from compressor.benchmarking.decoding import decode
from compressor.benchmarking.statistics import Verdict
from compressor.errors import CompressorError

SCHEMA_VERSION = 1
KIND = "benchmark"


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Which program wrote the document."""

    name: str = "compressor"
    version: str = __version__


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The machine and its software; None where the system does not tell."""

    cpu_model: str
    arch: str
    flags: tuple[str, ...]
    logical_cpus: int
    physical_cpus: int | None
    affinity: tuple[int, ...]
    governor: str | None
    virtualised: bool | None
    load_before: tuple[float, ...]
    load_after: tuple[float, ...]
    memory_total_bytes: int | None
    os: str
    kernel: str
    python: str
    onnxruntime: str
    onnx: str
    cpu_quota: float | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was asked for."""

    provider: str
    threads: int
    batches: tuple[int, ...]
    pairs: int
    rounds: int
    seed: int
    max_seconds: float
    graph_optimization: Literal["all"] = "all"
    spinning: bool = False


@dataclass(frozen=True, kw_only=True)
class Size:
    """Bytes on disk, and after ``gzip -6``."""

    onnx_bytes: int
    external_bytes: int
    gzip_bytes: int


@dataclass(frozen=True, kw_only=True)
class Load:
    """Time to open a session, in milliseconds."""

    p50: float
    min: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Resident bytes that the session adds, and that running adds at its peak."""

    session_bytes: int
    run_peak_bytes: int
    method: str


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of one call at one batch size; a percentile is None where the samples are too few to claim it."""

    batch: int
    n: int
    min_ms: float
    p50_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mean_ms: float


@dataclass(frozen=True, kw_only=True)
class UnalignedLayer:
    """A convolution whose channel count drops the next one out of the runtime's fast layout."""

    name: str
    channels: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One file: what it is, what it weighs, how long it takes."""

    name: str
    path: str
    sha256: str
    opset: int
    exporter: str | None
    macs: int | None
    parameters: int
    parameters_nonzero: int
    size: Size
    metadata: dict[str, str]
    providers_actual: tuple[str, ...]
    load_ms: Load
    memory: Memory | None
    latency: tuple[Latency, ...]
    unaligned_layers: tuple[UnalignedLayer, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A variant beside the baseline at one batch size; ``ratio`` is its latency over the baseline's."""

    variant: str
    baseline: str
    batch: int
    ratio: float
    ci95: tuple[float, float]
    speedup: float
    speedup_ci95: tuple[float, float]
    pairs: int
    rounds: int
    noise_floor: float
    verdict: Verdict
    rule: str
    sequential: bool


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A whole run: the first variant is the baseline, the controls compare it with itself."""

    started: str
    duration_s: float
    environment: Environment
    settings: Settings
    variants: tuple[Variant, ...]
    comparisons: tuple[Comparison, ...]
    controls: tuple[Comparison, ...]
    warnings: tuple[str, ...]
    tool: Tool = field(default_factory=Tool)

    def to_plain(self) -> dict[str, Any]:
        """The document as plain data, ready for JSON."""
        return {"schema_version": SCHEMA_VERSION, "kind": KIND, **_plain(self)}

    @classmethod
    def from_plain(cls, plain: Any) -> Benchmark:
        """Read ``to_plain``'s form; raises `CompressorError` on anything else."""
        if not isinstance(plain, dict) or plain.get("kind") != KIND:
            found = plain.get("kind") if isinstance(plain, dict) else type(plain).__name__
            raise CompressorError(f"not a benchmark document: its kind must be {KIND!r}, got {found!r}")
        version = plain.get("schema_version")
        if version != SCHEMA_VERSION:
            raise CompressorError(
                f"cannot read schema_version {version!r} of a benchmark document, only {SCHEMA_VERSION}"
            )
        rest = {key: value for key, value in plain.items() if key not in ("kind", "schema_version")}
        return decode(cls, rest, "benchmark")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value
