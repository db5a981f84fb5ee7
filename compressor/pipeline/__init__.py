"""The whole pipeline: fine-tune, shrink, recover, export, benchmark, report; resumed where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from compressor.checkpoints import Network
from compressor.codec import write_report
from compressor.data.samples import DataSet
from compressor.groups.known import KnownGroups
from compressor.pipeline.finished import run_report
from compressor.pipeline.folder import holds_run, older_report, open_folder
from compressor.pipeline.plan import RunPlan, settings_of
from compressor.pipeline.run_stages import Stages
from compressor.progress import Progress, silent
from compressor.records.run import RunReport
from compressor.stages import GROUPS, STAGES
from compressor.stages.fine_tune import check_target
from compressor.stages.samples import check_fit

__all__ = ["Callbacks", "RunPlan", "run"]


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """Called as the run goes: when a stage starts or is skipped, by its name, and with the progress inside it."""

    start: Callable[[str], None] = lambda stage: None
    skip: Callable[[str], None] = lambda stage: None
    progress: Progress = silent


def run(
    network: Network,
    data: DataSet,
    plan: RunPlan,
    out: Path,
    *,
    overwrite: bool = False,
    callbacks: Callbacks | None = None,
) -> RunReport:
    """Do or resume the run in folder ``out`` and return its report, also written there.

    A target that was not met is in the report; files are kept. Raises what the stages raise.
    """
    check_fit(network, data)
    callbacks, settings = callbacks or Callbacks(), settings_of(network, data, plan)
    groups = KnownGroups(network, out / GROUPS)
    if not overwrite and (finished := older_report(out, settings)):
        for stage in STAGES:
            callbacks.skip(stage.name)
        return finished
    if overwrite or not holds_run(out):
        check_target(network, plan.penalties, groups.get())
    folder = open_folder(out, settings, overwrite=overwrite)
    stages = Stages(network, data, plan, folder, groups, callbacks.progress)
    report = run_report(stages.run(callbacks.start, callbacks.skip), settings, plan)
    write_report(folder.file("report.json"), report)
    return report
