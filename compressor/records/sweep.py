"""What a sweep found: one network for each target, all of them measured side by side with the dense one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import field

from compressor.records import SCHEMA_VERSION, Interval, Metric, Record, Tool
from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import Target, TargetKind


class SweptNetwork(Record, frozen=True, kw_only=True):
    """The dense network, or the one that a point of the sweep ended with; ``name`` is that of its timings, too.

    ``files`` are relative to the sweep's folder, ``size_bytes`` is the ONNX file's. ``change_ci95``: the 95 % interval
    of how much the metric changed against the dense network, in shares of the same samples. ``dominated_by`` names a
    network that is at least as good and as fast, and better in one of the two, by what was measured; ``clearly`` when
    the intervals say so as well.
    """

    name: str
    target: Target | None = None
    files: tuple[str, ...]
    metric: Metric | None
    change_ci95: Interval | None = None
    macs: int
    parameters: int
    size_bytes: int | None
    duration_s: float = 0.0
    dominated_by: str | None = None
    clearly: bool = False


class FailedPoint(Record, frozen=True, kw_only=True):
    """A target for which there is no network, and why."""

    name: str
    why: str


class SweepReport(Record, frozen=True, kw_only=True, tag_field="kind", tag="sweep"):
    """A whole sweep: the dense network, then one for each target, from the largest; failed points apart.

    ``benchmark`` measured all of them in turns, so that their latencies compare.
    """

    schema_version: int = SCHEMA_VERSION
    tool: Tool = field(default_factory=Tool)
    started: str
    duration_s: float
    command: str
    settings: Mapping[str, Any]
    target_kind: TargetKind
    networks: tuple[SweptNetwork, ...]
    failed: tuple[FailedPoint, ...] = ()
    benchmark: BenchmarkReport
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
