"""Targets that were foretold before the training, as the benchmark of what was exported measured them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from compressor.records.benchmark import BenchmarkReport
from compressor.records.costs import Costs
from compressor.records.run import Target
from compressor.report.benchmark_tables import stored_bytes
from compressor.splitting.targets import latency_holds


def measured_targets(targets: Sequence[Target], benchmark: BenchmarkReport, costs: Costs | None) -> tuple[Target, ...]:
    """``targets`` with the latency and the bytes of the last variant; those in MACs and parameters are counted ones.

    A latency is met when its interval does not lie above the target. That of another processor, by the ``costs`` that
    were made there, stays foretold.
    """
    elsewhere = costs is not None and costs.environment.cpu_model != benchmark.environment.cpu_model
    return tuple(
        target if elsewhere and target.kind == "latency" else _measured(target, benchmark) for target in targets
    )


def _measured(target: Target, benchmark: BenchmarkReport) -> Target:
    if target.kind == "size":
        size = benchmark.variants[-1].size
        reached = float(size.gzip_bytes if target.compressed else stored_bytes(size))
        return replace(target, reached=reached, met=reached <= target.asked)
    if target.kind == "latency" and benchmark.comparisons:
        last = benchmark.comparisons[-1]
        return replace(target, reached=last.ratio, ci95=last.ci95, met=latency_holds(target.asked, last.ci95))
    return target
