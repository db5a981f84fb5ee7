"""What a run, from the trained network to the exported file, did and measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import field

from compressor.records import SCHEMA_VERSION, Interval, Metric, Record, Tool
from compressor.records.benchmark import BenchmarkReport
from compressor.records.search import Probe

TargetKind = Literal["macs", "params", "latency", "size", "drop"]


class Target(Record, frozen=True, kw_only=True):
    """What was asked for, and what was reached: at most so much.

    MACs, parameters and latency are shares of the dense network's; a size is in bytes, ``compressed`` ones or those of
    the exported file; a drop is in points of the metric on the validation part, or in its ``unit``. ``ci95`` is that of
    what was reached, where it was measured. ``next`` says what the next wider aligned network would have been.
    """

    kind: TargetKind
    asked: float
    reached: float
    met: bool
    ci95: Interval | None = None
    compressed: bool = False
    next: str = ""
    unit: str = ""


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
    """What was removed; differences are the largest absolute ones relative to the output scale.

    ``float64`` is None where the network's code computes in float32 only.
    """

    float64: float | None
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
    """An exported file that passed its checks; ``fallback`` says why the first exporter was not used.

    ``variant`` is the file's name without its ending; ``opset`` is of ONNX, ``torch`` the version behind a pt2 file.
    ``cast_from`` is the half precision of the network, where the file computes in float32 instead.
    """

    variant: str
    exporter: str
    opset: int | None
    torch: str | None = None
    fallback: str | None = None
    cast_from: str | None = None
    parity: Parity


class Gate(Record, frozen=True, kw_only=True):
    """A limit that was asked for, in points of a share or as a factor; ``measured`` says why it holds or does not."""

    name: Literal["max-drop", "min-speedup"]
    limit: float
    holds: bool
    measured: str


class StageRow(Record, frozen=True, kw_only=True):
    """The network after one stage of a run; ``variant`` names it in the benchmark, ``file`` in the run's folder.

    Parameters are counted as PyTorch has them, weights and biases of norms included; ``parameters_nonzero`` of them are
    not zero. ``stale`` when the metric was measured with running statistics of BatchNorm that lag behind the weights:
    it tells of those statistics, not of the network.
    """

    stage: str
    variant: str | None = None
    metric: Metric | None
    macs: int
    parameters: int
    parameters_nonzero: int | None = None
    size_bytes: int | None
    file: str = ""
    stale: bool = False
    note: str = ""


class TrainingEpoch(Epoch, frozen=True, kw_only=True):
    """An epoch of a run, and the stage that it belongs to."""

    phase: str


class RunReport(Record, frozen=True, kw_only=True, tag_field="kind", tag="run"):
    """A whole run: every stage, what was checked on the way, and the benchmark of what it ended with.

    ``target`` is the one of the ``targets`` that binds most: of which the largest share was used.
    ``probes`` are the runs of a search for the smallest network within a drop; the report is that of the chosen one.
    """

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
    targets: tuple[Target, ...] = ()
    export: tuple[Export, ...]
    layers: tuple[LayerChange, ...]
    training: tuple[TrainingEpoch, ...]
    benchmark: BenchmarkReport | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    gates: tuple[Gate, ...] = ()
    probes: tuple[Probe, ...] = ()


Report = RunReport | BenchmarkReport
