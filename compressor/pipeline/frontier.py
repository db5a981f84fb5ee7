"""The networks of a sweep side by side: measured in turns, and which of them another one makes superfluous."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from compressor.benchmarking import benchmark
from compressor.codec import decode
from compressor.errors import CompressorError
from compressor.files import sha256
from compressor.pipeline.plan import RunPlan
from compressor.progress import Progress
from compressor.records import Interval, Metric
from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import RunReport, StageRow, Target, TargetKind
from compressor.records.sweep import FailedPoint, SweepReport, SweptNetwork
from compressor.regular_files import read_bytes
from compressor.report.benchmark_tables import comparison_for, stored_bytes
from compressor.report.figures import final_metric
from compressor.report.headline import all_warnings
from compressor.report.paired import drawn_interval, paired_interval, pairs_of

DENSE = "dense"
FILES = ("report.json", "report.html", "report.md", "small.onnx", "recovered.pt")
# Of JSON read into memory.
EXPANSION = 30


def frontier(
    folder: Path,
    plan: RunPlan,
    kind: TargetKind,
    settings: Mapping[str, Any],
    points: Mapping[str, RunReport],
    failures: Mapping[str, str],
    progress: Progress,
) -> SweepReport:
    """The report of the sweep in ``folder`` whose ``points`` are finished; files that were timed are not again."""
    first = folder / "points" / next(iter(points))
    files = {DENSE: first / "dense.onnx"} | {name: folder / "points" / name / "small.onnx" for name in points}
    timing = _known(folder / "sweep.json", files, plan) or benchmark(
        list(files.values()),
        names=list(files),
        threads=plan.threads,
        provider=plan.provider,
        max_seconds=plan.max_seconds * max(1, len(points)),
        seed=plan.recipe.seed,
        progress=progress,
    )
    swept = [_dense(first, folder, points), *(_point(folder, kind, *item) for item in points.items())]
    timing = _counted(timing, swept)
    networks = marked(_sized(swept, timing), timing)
    return SweepReport(
        started=min(report.started for report in points.values()),
        duration_s=round(sum(report.duration_s for report in points.values()) + timing.duration_s, 2),
        command=plan.command,
        settings=settings,
        target_kind=kind,
        networks=networks,
        failed=tuple(FailedPoint(name=name, why=why) for name, why in failures.items()),
        benchmark=timing,
        warnings=tuple(f"{name}: {text}" for name, report in points.items() for text in _own_warnings(report)),
        notes=plan.notes,
    )


def _counted(timing: BenchmarkReport, swept: Sequence[SweptNetwork]) -> BenchmarkReport:
    """With parameters as the networks have them: exporting folds some of them into others."""
    pairs = zip(timing.variants, swept, strict=True)
    return replace(timing, variants=tuple(replace(one, parameters=row.parameters) for one, row in pairs))


def _sized(swept: Sequence[SweptNetwork], timing: BenchmarkReport) -> list[SweptNetwork]:
    """With the sizes of the files that were timed."""
    pairs = zip(timing.variants, swept, strict=True)
    return [replace(row, size_bytes=stored_bytes(one.size)) for one, row in pairs]


def _own_warnings(report: RunReport) -> list[str]:
    """Those of the point's training; its timings are not what the sweep goes by."""
    timed = set(report.benchmark.warnings) if report.benchmark is not None else set()
    return [text for text in all_warnings(report) if text not in timed]


def _known(path: Path, files: Mapping[str, Path], plan: RunPlan) -> BenchmarkReport | None:
    """The timings of an earlier end of this sweep, if they are of the same files, measured in the same way."""
    if not path.exists():
        return None
    try:
        timing = decode(read_bytes(path, expansion=EXPANSION), SweepReport, str(path)).benchmark
    except CompressorError:
        return None  # it is written anew
    same = {one.name: one.sha256 for one in timing.variants} == {name: sha256(file) for name, file in files.items()}
    asked = (plan.threads, plan.provider, plan.max_seconds * max(1, len(files) - 1))
    measured = (timing.settings.threads, timing.settings.provider, timing.settings.max_seconds)
    return timing if same and asked == measured else None


def _dense(first: Path, folder: Path, points: Mapping[str, RunReport]) -> SweptNetwork:
    row = next(iter(points.values())).stages[0]
    files = tuple(_relative(folder, first / name) for name in ("dense.onnx", "dense.pt") if (first / name).exists())
    return _network(DENSE, row, row.metric, files)


def _point(folder: Path, kind: TargetKind, name: str, report: RunReport) -> SweptNetwork:
    place = folder / "points" / name
    files = tuple(_relative(folder, place / file) for file in FILES if (place / file).exists())
    metric = final_metric(report)
    network = _network(name, report.stages[-1], metric, files)
    change = _change(report.stages[0].metric, metric)
    # What was missed matters more than what was asked of this point alone.
    target = next((one for one in report.targets if not one.met), None) or _own(report, kind)
    return replace(network, target=target, change_ci95=change, duration_s=report.duration_s)


def _own(report: RunReport, kind: TargetKind) -> Target | None:
    return next((one for one in report.targets if one.kind == kind), report.target)


def _network(name: str, row: StageRow, metric: Metric | None, files: tuple[str, ...]) -> SweptNetwork:
    return SweptNetwork(
        name=name, files=files, metric=metric, macs=row.macs, parameters=row.parameters, size_bytes=None
    )


def _relative(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _change(before: Metric | None, after: Metric | None) -> Interval | None:
    """The 95 % interval of how much ``after`` is higher than ``before``, on the same samples."""
    if before is None or after is None:
        return None
    pairs = pairs_of(before, after)
    if pairs is None:
        return drawn_interval(before, after)
    low, high = paired_interval(pairs)
    return -high, -low


def marked(networks: Sequence[SweptNetwork], timing: BenchmarkReport) -> tuple[SweptNetwork, ...]:
    """The networks, each with the one that dominates it, if there is one."""
    latencies = {one.name: _latency(timing, one.name) for one in networks}
    marked = []
    for one in networks:
        better = [other for other in networks if _dominates(other, one, latencies)]
        clear = [other for other in better if _clearly(other, one, latencies)]
        by = next(iter(clear or better), None)
        marked.append(replace(one, dominated_by=by.name if by is not None else None, clearly=bool(clear)))
    return tuple(marked)


def _latency(timing: BenchmarkReport, name: str) -> tuple[float, Interval]:
    """Ratio to the dense network at the first batch size, with its interval."""
    found = comparison_for(timing, name, timing.settings.batches[0])
    return (found.ratio, found.ci95) if found is not None else (1.0, (1.0, 1.0))


def _dominates(other: SweptNetwork, one: SweptNetwork, latencies: Mapping[str, tuple[float, Interval]]) -> bool:
    """At least as good and as fast, and better in one of the two."""
    if one.metric is None or other.metric is None:
        return False
    mine, its = _goodness(one.metric), _goodness(other.metric)
    slow, fast = latencies[one.name][0], latencies[other.name][0]
    return its >= mine and fast <= slow and (its > mine or fast < slow)


def _clearly(other: SweptNetwork, one: SweptNetwork, latencies: Mapping[str, tuple[float, Interval]]) -> bool:
    """Whether neither could be the other way round within the 95 % intervals."""
    change = _change(one.metric, other.metric)
    if change is None or other.metric is None:
        return False
    better = change[0] >= 0 if other.metric.direction == "higher" else change[1] <= 0
    return better and latencies[other.name][1][1] <= latencies[one.name][1][0]


def _goodness(metric: Metric) -> float:
    return metric.value if metric.direction == "higher" else -metric.value
