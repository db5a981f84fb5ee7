"""One run for each of several targets, and all networks that come of it measured side by side."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compressor.checkpoints import Network
from compressor.codec import read_report
from compressor.data.feeds import Data
from compressor.errors import CompressorError, UsageError
from compressor.files import remove_folder
from compressor.locks import hold_folder
from compressor.pipeline import Callbacks, run
from compressor.pipeline.folder import holds_others, plain_settings, require_same
from compressor.pipeline.frontier import frontier
from compressor.pipeline.known_costs import COSTS, with_costs
from compressor.pipeline.plan import RunPlan, settings_of
from compressor.pipeline.sweep_queue import JOURNAL, Point, Queue
from compressor.pipeline.waiting import patiently
from compressor.progress import Progress, silent
from compressor.records.run import RunReport, TargetKind
from compressor.records.sweep import SweepReport
from compressor.report.figures import final_metric, main_comparison
from compressor.report.sweep_page import SWEEP_REPORTS, publish_sweep
from compressor.tasks.base import Task

# How often a process that has nothing left to do looks whether the others are done.
WAIT_S = 1.0


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """What a sweep does: runs like ``run``, whose target of ``kind`` is each of ``targets`` in turn, the largest first.

    `UsageError` when a target is there twice.
    """

    run: RunPlan
    kind: TargetKind
    targets: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(set(self.targets)) != len(self.targets):
            raise UsageError(f"--targets must be distinct, got {', '.join(f'{target:g}' for target in self.targets)}")
        object.__setattr__(self, "targets", tuple(sorted(self.targets, reverse=True)))

    @property
    def named(self) -> dict[str, float]:
        """The targets by the names of their folders."""
        return {f"{target:.12g}": target for target in self.targets}

    def noted(self, notes: tuple[str, ...]) -> SweepPlan:
        """The same plan with notes for the reader of its reports."""
        return replace(self, run=self.run.noted(notes))

    def point(self, target: float) -> RunPlan:
        """The run of one target."""
        asked: dict[str, Any] = {f"target_{self.kind}": target}
        return replace(self.run, penalties=replace(self.run.penalties, **asked))


@dataclass(frozen=True, kw_only=True)
class SweepCallbacks:
    """Called as the sweep goes: around each point, with its name, and when this process waits for others."""

    point: Callable[[str], contextlib.AbstractContextManager[Callbacks]] = lambda name: contextlib.nullcontext(
        Callbacks()
    )
    failed: Callable[[str, str], None] = lambda name, why: None
    wait: Callable[[Sequence[str]], None] = lambda names: None
    progress: Progress = silent
    complete: Callable[[SweepReport], SweepReport] = field(default=lambda report: report)


def sweep(
    network: Network,
    data: Data,
    plan: SweepPlan,
    out: Path,
    *,
    overwrite: bool = False,
    points_only: bool = False,
    callbacks: SweepCallbacks | None = None,
) -> SweepReport | None:
    """Do or resume the sweep in folder ``out`` and return its report, also written there, as a page too.

    Other processes may work in the same folder, on this machine or another: each takes points that nobody has. With
    ``points_only`` it leaves when there is none, without a report; else it waits for all of them. A point that fails is
    in the report; when all do, that is a `CompressorError`. `UsageError` when ``out`` holds something else, or a
    sweep with other settings.
    """
    callbacks = callbacks or SweepCallbacks()
    plan = replace(plan, run=with_costs(plan.run, network, out, callbacks.progress))
    queue = _opened(out, _settings(network, data, plan), data.task, overwrite=overwrite)
    with _telling_what_is_kept(out):
        _work_off(network, data, plan, queue, callbacks, points_only=points_only)
        return None if points_only else _finished(network, data, plan, queue, callbacks)


@contextlib.contextmanager
def _telling_what_is_kept(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as stop:
        done = ", ".join(path.parent.name for path in sorted(out.glob("points/*/report.json"))) or "no point"
        stop.add_note(f"{done} finished in {out}; the same command goes on")
        raise


def _work_off(
    network: Network,
    data: Data,
    plan: SweepPlan,
    queue: Queue,
    callbacks: SweepCallbacks,
    *,
    points_only: bool,
) -> None:
    """Take points until none is left to take; unless ``points_only``, until all are finished."""
    queue.add(plan.named, finished=[name for name in plan.named if _report(queue, name).exists()])
    waited: list[str] = []
    while True:
        with queue.taken(plan.named) as point:
            if point is not None:
                _work(network, data, plan, queue, point, callbacks)
                continue
        pending = queue.pending(plan.named)
        if points_only or not pending:
            return
        if pending != waited:
            callbacks.wait(pending)
        waited = pending
        time.sleep(WAIT_S)


def _opened(out: Path, settings: Mapping[str, Any], task: Task, *, overwrite: bool) -> Queue:
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} exists and is no folder; choose another --out")
    begun = (out / JOURNAL).exists() or (out / "points").exists()
    if not begun and out.exists() and holds_others(out, JOURNAL, COSTS):
        raise UsageError(f"{out} exists and does not hold a sweep; choose another --out")
    if overwrite and begun:
        _clear(out)
    queue = Queue(out, larger_is_better=task.larger_is_better)
    require_same(out, queue.bind(settings), settings, what="sweep")
    return queue


def _clear(out: Path) -> None:
    """Remove what a sweep writes, and nothing else; `Occupied` while anybody works on a point."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(hold_folder(out))
        points = [path for path in sorted((out / "points").glob("*")) if path.is_dir()]
        for path in points:
            stack.enter_context(hold_folder(path))
        for name in (*SWEEP_REPORTS, JOURNAL, COSTS):
            (out / name).unlink(missing_ok=True)
        for path in points:
            remove_folder(path)


def _settings(network: Network, data: Data, plan: SweepPlan) -> Mapping[str, Any]:
    """What all points have in common."""
    known = settings_of(network, data, plan.point(plan.targets[0]))
    return plain_settings({**{key: known[key] for key in known if key != f"target_{plan.kind}"}, "kind": plan.kind})


def _work(network: Network, data: Data, plan: SweepPlan, queue: Queue, point: Point, callbacks: SweepCallbacks) -> None:
    try:
        with callbacks.point(point.name) as watch:
            out = queue.place(point.name)
            report = run(network, data, plan.point(plan.named[point.name]), out, callbacks=watch)
    except CompressorError as error:
        queue.fail(point, str(error))
        callbacks.failed(point.name, str(error))
    else:
        metric, latency = final_metric(report), main_comparison(report)
        queue.finish(point, metric.value if metric else 0.0, latency.ratio if latency else 1.0)


def _finished(network: Network, data: Data, plan: SweepPlan, queue: Queue, callbacks: SweepCallbacks) -> SweepReport:
    failures = queue.failures(plan.named)
    done = [name for name in plan.named if name not in failures]
    if not done:
        raise CompressorError("; ".join(f"no network for {name}: {why}" for name, why in failures.items()))
    with patiently(lambda: hold_folder(queue.folder)):
        points = {name: _read(_report(queue, name)) for name in done}
        settings = {**_settings(network, data, plan), "targets": list(plan.targets)}
        report = frontier(queue.folder, plan.run, plan.kind, settings, points, failures, callbacks.progress)
        report = callbacks.complete(report)
        publish_sweep(report, queue.folder)
    return report


def _report(queue: Queue, name: str) -> Path:
    return queue.place(name) / "report.json"


def _read(path: Path) -> RunReport:
    report = read_report(path)
    if not isinstance(report, RunReport):
        raise CompressorError(f"{path} is not the report of a run; remove {path.parent} to do the point again")
    return report
