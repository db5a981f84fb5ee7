"""What the folder of a run keeps of its finished stages, and the one report that is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from compressor.pipeline.plan import RunPlan
from compressor.pipeline.targets import measured_targets
from compressor.records import Record
from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import Export, RunReport, StageRow, TrainingEpoch
from compressor.records.stages import Evaluation, FineTuning, Shrinking
from compressor.splitting.targets import binding

Result = TypeVar("Result")


class Finished(Record, Generic[Result], frozen=True, kw_only=True):
    """The record that a stage returned, its rows in the report, what was warned of, its begin and its time.

    ``settings`` is the hash of the settings of its run, ``files`` those of the files that it wrote; older records have
    neither.
    """

    result: Result
    rows: tuple[StageRow, ...] = ()
    warnings: tuple[str, ...] = ()
    started: str = ""
    seconds: float = 0.0
    settings: str = ""
    files: Mapping[str, str] = {}


class FinishedRun(Record, frozen=True, kw_only=True):
    """All stages of a run, in their order."""

    dense: Finished[Evaluation]
    fine_tune: Finished[FineTuning]
    shrink: Finished[Shrinking]
    recover: Finished[FineTuning]
    export: Finished[tuple[Export, ...]]
    benchmark: Finished[BenchmarkReport]

    @property
    def rows(self) -> tuple[StageRow, ...]:
        """The rows of all stages."""
        return tuple(row for stage in self._stages for row in stage.rows)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What Python warned of in all stages, also those of an earlier start."""
        return tuple(text for stage in self._stages for text in stage.warnings)

    @property
    def seconds(self) -> float:
        """The time of all stages."""
        return round(sum(stage.seconds for stage in self._stages), 2)

    @property
    def _stages(self) -> tuple[Finished[Any], ...]:
        return self.dense, self.fine_tune, self.shrink, self.recover, self.export, self.benchmark


def run_report(run: FinishedRun, settings: Mapping[str, Any], plan: RunPlan) -> RunReport:
    """The report of a run with these ``settings``."""
    tunings = {"fine-tune": run.fine_tune.result, "recover": run.recover.result}
    projection, benchmark = run.fine_tune.result.projection, _counted(run.benchmark.result, run.rows)
    targets = measured_targets(projection.targets if projection is not None else (), benchmark, plan.costs)
    return RunReport(
        started=run.dense.started,
        duration_s=run.seconds,
        command=plan.command,
        settings=settings,
        stages=run.rows,
        removal=run.shrink.result.removal,
        gap=projection.gap if projection is not None else None,
        target=binding(targets),
        targets=targets,
        export=run.export.result,
        layers=run.shrink.result.layers,
        training=tuple(epoch for phase, tuning in tunings.items() for epoch in _epochs(phase, tuning)),
        benchmark=benchmark,
        warnings=(
            *run.warnings,
            *(projection.warnings if projection is not None else ()),
            *(warning for phase, tuning in tunings.items() for warning in _divergence(phase, tuning)),
            *(warning for export in run.export.result for warning in _fallback(export)),
            *benchmark.warnings,
        ),
        notes=plan.notes,
    )


def _counted(benchmark: BenchmarkReport, rows: Sequence[StageRow]) -> BenchmarkReport:
    """``benchmark`` with parameters as the rows count them: exporting folds some of them into others."""
    known = {row.variant: row for row in rows if row.variant}
    variants = tuple(
        replace(one, parameters=row.parameters, parameters_nonzero=row.parameters_nonzero)
        if (row := known.get(one.name))
        else one
        for one in benchmark.variants
    )
    return replace(benchmark, variants=variants)


def _epochs(phase: str, tuning: FineTuning) -> Iterator[TrainingEpoch]:
    for epoch in tuning.epochs:
        yield TrainingEpoch(phase=phase, **msgspec.structs.asdict(epoch))


def _divergence(phase: str, tuning: FineTuning) -> Iterator[str]:
    if tuning.undone:
        epochs = ", ".join(map(str, tuning.undone))
        yield f"{phase}: training diverged in epoch {epochs}, which was undone and repeated with half the learning rate"


def _fallback(export: Export) -> Iterator[str]:
    if export.fallback:
        yield f"{export.variant}.onnx: exported by {export.exporter}, because {export.fallback}"
    if export.cast_from:
        yield f"{export.variant}.onnx: the network computes in {export.cast_from}, the file in float32"
