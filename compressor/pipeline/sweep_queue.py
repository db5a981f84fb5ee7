"""The points of a sweep as trials of an Optuna study, which any number of processes and machines work off.

The study is a journal in the sweep's folder. Who works on a point holds the lock of the point's folder: a journal has
no heartbeats, and a lock that goes with its process says at once that a point was left. What a point found is in its
folder, so a journal that is lost costs nothing but the order.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compressor.errors import CompressorError, Occupied
from compressor.foreign import parsing
from compressor.locks import hold, hold_folder
from compressor.pipeline.waiting import patiently
from compressor.regular_files import read_bytes

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
STUDY = "sweep"
REMOVABLE = "which may be removed, because the points are in folders of their own,"
PARAMETER = "target"
LARGEST_TARGET = 1e18
# Of JSON read into memory.
EXPANSION = 30


Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Point:
    """A point that this process works on."""

    name: str
    trial: Trial


class Queue:
    """Which points of the sweep in ``folder`` wait, are worked on and are finished, by a metric of that direction."""

    def __init__(self, folder: Path, *, larger_is_better: bool = True) -> None:
        self.folder, self.journal = folder, folder / JOURNAL
        self._directions: list[Direction] = ["maximize" if larger_is_better else "minimize", "minimize"]
        self.study: Study = self._opened()

    def bind(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings that the sweep was begun with: these, when it is new."""
        with self._alone():
            known = self.study.user_attrs.get("settings")
            if known is None:
                self.study.set_user_attr("settings", json.loads(json.dumps(settings)))
        return settings if known is None else known if isinstance(known, dict) else {}

    def add(self, targets: Mapping[str, float], finished: Iterable[str]) -> None:
        """Let points wait that nobody has begun, that failed, or whose result is gone, though not ``finished``."""
        from optuna.trial import TrialState

        finished = set(finished)
        with self._alone():
            for name, target in targets.items():
                last = self._last(name)
                over = last is None or last.state in {TrialState.FAIL, TrialState.COMPLETE}
                if name not in finished and over:
                    self._enqueue(name, target)

    @contextlib.contextmanager
    def taken(self, targets: Mapping[str, float]) -> Iterator[Point | None]:
        """Hold the first of the points in ``targets`` that waits or was left by its process; None without one."""
        with contextlib.ExitStack() as stack:
            with self._alone():
                self._renew(targets)
                point = self._next(targets, stack)
            yield point

    def pending(self, names: Iterable[str]) -> list[str]:
        """The points that wait or that somebody works on."""
        with self._alone():
            return [name for name in names if (last := self._last(name)) is not None and not last.state.is_finished()]

    def finish(self, point: Point, metric: float, latency: float) -> None:
        """The point has a network with this metric and ratio of latencies."""
        with self._alone():
            self.study.tell(point.trial, [metric, latency])

    def fail(self, point: Point, why: str) -> None:
        """There is no network for the point."""
        from optuna.trial import TrialState

        with self._alone():
            point.trial.set_user_attr("why", why)
            self.study.tell(point.trial, state=TrialState.FAIL)

    def failures(self, names: Iterable[str]) -> dict[str, str]:
        """Why the points that failed did."""
        from optuna.trial import TrialState

        with self._alone():
            last = [(name, self._last(name)) for name in names]
        failed = [(name, trial) for name, trial in last if trial is not None and trial.state is TrialState.FAIL]
        return {name: str(trial.user_attrs.get("why", "its process ended")) for name, trial in failed}

    def place(self, name: str) -> Path:
        """The folder of a point."""
        return self.folder / "points" / name

    def _opened(self) -> Study:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self._alone():
            if self.journal.exists():
                read_bytes(self.journal, expansion=EXPANSION)  # it must be a regular file of bearable size
            # Its own lock is nobody's for half a minute when a process is killed that has it.
            backend = JournalFileBackend(str(self.journal), lock_obj=_NoLock())  # type: ignore[arg-type]
            return optuna.create_study(
                study_name=STUDY,
                storage=JournalStorage(backend),
                load_if_exists=True,
                directions=self._directions,
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else reads or writes the journal inside the block, in which the study reads what others wrote."""
        with patiently(lambda: hold(self.journal)), parsing(f"{self.journal}, {REMOVABLE}", CompressorError):
            yield

    def _enqueue(self, name: str, target: float) -> None:
        self.study.enqueue_trial({PARAMETER: target}, user_attrs={"name": name})

    def _trials(self, name: str) -> list[FrozenTrial]:
        return [trial for trial in self.study.get_trials(deepcopy=False) if trial.user_attrs.get("name") == name]

    def _last(self, name: str) -> FrozenTrial | None:
        return next(reversed(self._trials(name)), None)

    def _renew(self, targets: Mapping[str, float]) -> None:
        """Let points wait again whose process ended before they did."""
        from optuna.trial import TrialState

        for name, target in targets.items():
            last = self._last(name)
            if last is None or last.state is not TrialState.RUNNING:
                continue
            with contextlib.suppress(Occupied), hold_folder(self.place(name)):
                self.study.tell(last.number, state=TrialState.FAIL)
                self._enqueue(name, target)

    def _next(self, names: Iterable[str], stack: contextlib.ExitStack) -> Point | None:
        """The first that waits, its folder held on ``stack``."""
        from optuna.trial import TrialState

        wanted = set(names)
        while self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            trial = self.study.ask()
            trial.suggest_float(PARAMETER, 0.0, LARGEST_TARGET)
            point = Point(str(trial.user_attrs.get("name")), trial)
            if point.name not in wanted:
                self.study.tell(trial, state=TrialState.FAIL)  # an earlier command asked for it
                continue
            # Somebody may work there by another command: then the point is that process's until it ends.
            with contextlib.suppress(Occupied):
                stack.enter_context(hold_folder(self.place(point.name)))
                return point
        return None


class _NoLock:
    """The journal is held already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
