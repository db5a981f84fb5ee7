"""From the finished stages to the one report of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from compressor.pipeline.finished import FinishedRun
from compressor.pipeline.plan import RunPlan
from compressor.records import Export, RunReport, TrainingEpoch
from compressor.records.stages import FineTuning


def run_report(run: FinishedRun, settings: Mapping[str, Any], plan: RunPlan) -> RunReport:
    """The report of a run with these ``settings``."""
    tunings = {"fine-tune": run.fine_tune.result, "recover": run.recover.result}
    projection, benchmark = run.fine_tune.result.projection, run.benchmark.result
    return RunReport(
        started=run.dense.started,
        duration_s=run.seconds,
        command=plan.command,
        settings=settings,
        stages=run.rows,
        removal=run.shrink.result.removal,
        gap=projection.gap if projection is not None else None,
        target=projection.target if projection is not None else None,
        export=run.export.result,
        layers=run.shrink.result.layers,
        training=tuple(epoch for phase, tuning in tunings.items() for epoch in _epochs(phase, tuning)),
        benchmark=benchmark,
        warnings=(
            *(projection.warnings if projection is not None else ()),
            *(warning for phase, tuning in tunings.items() for warning in _divergence(phase, tuning)),
            *(warning for export in run.export.result for warning in _fallback(export)),
            *benchmark.warnings,
        ),
        notes=plan.notes,
    )


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
