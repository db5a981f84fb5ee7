"""The whole pipeline: fine-tune, shrink, recover, export, benchmark, report; resumed where it stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from compressor.checkpoints import Network
from compressor.data.feeds import Data, feed_of
from compressor.errors import CompressorError
from compressor.groups.known import KnownGroups
from compressor.locks import Lock, hold_folder
from compressor.pipeline.finished import run_report
from compressor.pipeline.folder import RunFolder, older_report, open_folder
from compressor.pipeline.plan import RunPlan, settings_of
from compressor.pipeline.run_stages import Stages
from compressor.pipeline.start import Start
from compressor.progress import Progress, silent
from compressor.records.run import RunReport
from compressor.report.publishing import publish
from compressor.stages import GROUPS, STAGES
from compressor.stages.fine_tune import check_target
from compressor.stages.samples import check_fit, rehearse

__all__ = ["Callbacks", "RunPlan", "run"]


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """Called as the run goes: when a stage starts or is skipped, by its name, and with the progress inside it.

    ``complete`` has the last word on the report before it is written.
    """

    start: Callable[[str], None] = lambda stage: None
    skip: Callable[[str], None] = lambda stage: None
    progress: Progress = silent
    complete: Callable[[RunReport], RunReport] = lambda report: report


def run(
    network: Network,
    data: Data,
    plan: RunPlan,
    out: Path,
    *,
    start: Network | None = None,
    overwrite: bool = False,
    callbacks: Callbacks | None = None,
) -> RunReport:
    """Do or resume the run in folder ``out`` and return its report, also written there, as a page too.

    Training begins at ``start``, a smaller network that an earlier run made of ``network``, the dense one, where there
    is one; ``network`` stays the teacher and what all is compared with. A target that was not met is in the report;
    files are kept. With ``overwrite`` the run that is in ``out`` stays until the new one is whole. Raises what the
    stages raise, and `CompressorError` while another run works in ``out``.
    """
    check_fit(network, data)
    # Raise what stands in the way of the training, before any work.
    plan.recipe.epoch_steps(feed_of(data, None).count(plan.recipe.batch_size))
    rehearse(network, data)
    begin = Start(network, start or network)
    callbacks, settings = callbacks or Callbacks(), {**settings_of(network, data, plan), **begin.settings}
    with hold_folder(out) as lock:
        if not overwrite and (finished := older_report(out, settings)):
            for stage in STAGES:
                callbacks.skip(stage.name)
            finished = callbacks.complete(finished)
            publish(finished, out / "report.json")
            return finished
        folder = open_folder(out, settings, overwrite=overwrite)
        groups = KnownGroups(begin.network, folder.file(GROUPS))
        if folder.is_new:
            check_target(begin.network, begin.penalties(plan.penalties), groups.get())
        folder.begin()
        stages = Stages(begin, data, plan, folder, groups, callbacks.progress)
        with _telling_what_happened(lock, folder):
            report = callbacks.complete(run_report(stages.run(callbacks.start, callbacks.skip), settings, plan))
            publish(report, folder.file("report.json"))
            folder.finish()
    return report


@contextlib.contextmanager
def _telling_what_happened(lock: Lock, folder: RunFolder) -> Iterator[None]:
    """Add to an interrupt what the folder keeps, and explain what failed because there is no folder any more."""
    try:
        yield
    except KeyboardInterrupt as stop:
        kept = ", ".join(folder.finished()) or "no stage"
        stop.add_note(f"{kept} finished in {folder.place}; the same command goes on")
        raise
    except (CompressorError, OSError):
        lock.check()
        raise
