"""What a run is going to take: its stages, each for real on a few batches, and what the whole takes by that.

Training takes its steps, which are timed, and passes of the network over samples: the test part after each row of the
report, the validation part and the samples of BatchNorm's statistics after each epoch. What is left of the time of the
few batches is taken as it is.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from compressor.channels import ChannelGroup
from compressor.checkpoints import Network
from compressor.data.samples import DataSet, Samples
from compressor.files import scratch_folder
from compressor.groups.known import KnownGroups
from compressor.pipeline.plan import RunPlan
from compressor.pipeline.teacher_views import fit
from compressor.progress import Progress, silent
from compressor.records.costs import Aims
from compressor.records.plan import PlannedStage, RunForecast
from compressor.stages import GROUPS, TITLES
from compressor.stages.aim import aim, costs_in
from compressor.stages.evaluate import evaluate
from compressor.stages.export import export
from compressor.stages.fine_tune import FineTuned, check_target, fine_tune
from compressor.stages.recover import recover
from compressor.stages.samples import check_fit
from compressor.stages.shrink import ShrunkNetwork, shrink
from compressor.stages.trials import seconds_of_settling
from compressor.training.batchnorm import SAMPLES
from compressor.training.recipe import OPTIMIZER_TENSORS, Recipe
from compressor.training.states import KEPT
from compressor.training.views import Views, ask, draw_views

Result = TypeVar("Result")

# Steps that are timed: as many as fit into so many seconds.
MOST_STEPS, STEP_SECONDS = 8, 3.0
# Samples of the other parts beside them, and those that the speed of a pass is measured on.
FEW, PASS = 64, 256
# So small that the weights stay what they are.
NO_RATE = 1e-9
# What benchmarking takes beside the timing: a process for each file, and one for both.
BENCHMARK_SECONDS = 2.0


def forecast_run(
    network: Network, data: DataSet, plan: RunPlan, *, runs: int = 1, progress: Progress | None = None
) -> RunForecast:
    """Predict the run of ``plan``; nothing is kept. Raises what the run would raise at its start."""
    check_fit(network, data)
    with scratch_folder() as folder:
        return _Forecast(network, data, plan, folder, progress or silent).record(runs)


class Passes(NamedTuple):
    """What a training evaluates: the test part so often; the samples of BatchNorm's statistics, too, or not."""

    test: int
    statistics: bool


# Trained and re-estimated, projection changing nothing; after recovery. Before either the metric is known.
TUNING, RECOVERY = Passes(2, statistics=True), Passes(1, statistics=False)


@dataclass(frozen=True)
class _Training:
    """Seconds of a step, and of all that comes once whatever the number of steps."""

    step: float
    once: float
    measured: int


class _Forecast:
    def __init__(self, network: Network, data: DataSet, plan: RunPlan, folder: Path, progress: Progress) -> None:
        self.network, self.data, self.plan, self.folder, self.progress = network, data, plan, folder, progress
        self.step_samples = plan.recipe.accumulate * min(plan.recipe.batch_size, len(data.train))

    def record(self, runs: int) -> RunForecast:
        groups, grouping = self._grouped()
        self.aims, aiming = self._aim(groups)
        passing = self._pass(self.network)
        tuned, tuning = self._trained(lambda data, recipe: self._tune(data, recipe, groups), passing, TUNING)
        self.progress(0.5, "removing channels")
        shrunk, shrinking = _timed(lambda: self._shrink(tuned, groups))
        small = self._pass(shrunk.network)
        _, recovering = self._trained(lambda data, recipe: self._recover(shrunk, data, recipe), small, RECOVERY)
        exporting = self._exported(shrunk.network)
        sparse, recovery = self.plan.sparse, self.plan.recovery
        settling = seconds_of_settling(
            self.network, self.data, self.plan.penalties, groups, self.aims, self.plan.recipe.seed
        )
        asking = passing * self.plan.views * len(self.data.train) * fit(self.plan.views, self.data)
        test = len(self.data.test)
        stages = (
            _stage("dense", grouping + passing * test),
            self._training("fine-tune", sparse.epochs, tuning, passing, TUNING, before=aiming + settling + asking),
            _stage("shrink", shrinking + small * test),
            self._training("recover", recovery.epochs, recovering, small, RECOVERY),
            _stage("export", exporting + small * test),
            _stage("benchmark", min(self.plan.max_seconds, BENCHMARK_SECONDS) + BENCHMARK_SECONDS),
        )
        projection = tuned.record.projection
        kept, peak = self._disk(shrunk.network)
        return RunForecast(
            stages=stages,
            runs=runs,
            seconds=runs * sum(stage.seconds for stage in stages),
            memory_bytes=_resident(),
            disk_bytes=kept,
            peak_disk_bytes=peak,
            target=projection.target if projection is not None else None,
            macs=shrunk.record.macs,
            parameters=shrunk.record.parameters,
            channels=projection.channels if projection is not None else {},
            layers=shrunk.record.layers,
            steps_measured=tuning.measured + recovering.measured,
            processes=self.plan.processes,
        )

    def _grouped(self) -> tuple[tuple[ChannelGroup, ...], float]:
        self.progress(0.0, "finding channel groups")
        groups, seconds = _timed(KnownGroups(self.network, self.folder / GROUPS).get)
        check_target(self.network, self.plan.penalties, groups)
        return groups, seconds

    def _aim(self, groups: Sequence[ChannelGroup]) -> tuple[Aims, float]:
        """What a target in latency or bytes needs to be measured, nothing for others; the seconds that a run measures.

        It measures networks again once their channels were tried out.
        """
        plan, costs, costing = self.plan, self.plan.costs, 0.0
        if costs is None and plan.penalties.target_latency is not None:
            costs, costing = _timed(lambda: costs_in(plan.runtime, self.network, groups, self.progress))
        aims, aiming = _timed(
            lambda: aim(
                self.network, plan.penalties, groups=groups, costs=costs, runtime=plan.runtime, progress=self.progress
            )
        )
        return aims, costing + aiming * (2 if plan.penalties.trials else 1)

    def _pass(self, network: Network) -> float:
        """Seconds that one sample takes to be evaluated."""
        part = replace(self.data, test=_first(self.data.test, PASS))
        evaluate(network, part)  # the first time is another one
        return _timed(lambda: evaluate(network, part))[1] / len(part.test)

    def _tune(self, data: DataSet, recipe: Recipe, groups: Iterable[ChannelGroup]) -> FineTuned:
        return fine_tune(
            self.network,
            data,
            recipe,
            replace(self.plan.penalties, trials=0),
            teacher=self.network.model,
            views=self._views(data),
            groups=tuple(groups),
            aims=self.aims,
            crew=self.plan.crew,
        )

    def _recover(self, shrunk: ShrunkNetwork, data: DataSet, recipe: Recipe) -> FineTuned:
        views, crew = self._views(data), self.plan.crew
        return recover(shrunk.network, data, recipe, teacher=self.network.model, views=views, crew=crew)

    def _views(self, data: DataSet) -> Views | None:
        """Views of these few samples, of which the dense network was asked about the first alone."""
        if not fit(self.plan.views, self.data):
            return None
        views = draw_views(data, 1, self.plan.recipe.seed)
        first = replace(data, train=_first(data.train, 1))
        logits = ask(self.network.model, first, views, self.network.metadata.normalization)
        return Views(views, logits.expand(-1, len(data.train), -1))

    def _shrink(self, tuned: FineTuned, groups: Iterable[ChannelGroup]) -> ShrunkNetwork:
        return shrink(tuned.network, self.data, align=self.plan.penalties.align, groups=tuple(groups))

    def _trained(
        self, work: Callable[[DataSet, Recipe], FineTuned], passing: float, passes: Passes
    ) -> tuple[FineTuned, _Training]:
        """The result of a training of some steps, and what a step of it takes."""
        recipe = replace(self.plan.recipe, epochs=1, lr=NO_RATE)

        def steps(count: int) -> tuple[FineTuned, float]:
            self.progress(0.25, f"{count} training steps")
            return _timed(lambda: work(self._few(count), recipe))

        steps(1)  # the first one waits for memory
        _, one = steps(1)
        more = max(1, min(MOST_STEPS, int(STEP_SECONDS / one)))
        result, all_of_them = steps(1 + more)
        # Statistics are estimated after the one epoch and in the end, on all samples that there are.
        estimated = passing * 2 * passes.statistics * self.step_samples
        step = max(0.0, (all_of_them - one) / more - estimated)
        once = max(0.0, one - step - estimated - passing * (passes.test + 1) * FEW)
        return result, _Training(step, once, 1 + more)

    def _few(self, steps: int) -> DataSet:
        """So many batches to train on, and a few samples of the other parts."""
        train = self.data.train
        places = torch.arange(steps * self.step_samples) % len(train)
        return replace(
            self.data,
            train=train.take(places),
            val=_first(self.data.val, FEW),
            test=_first(self.data.test, FEW),
        )

    def _training(
        self, name: str, epochs: int, training: _Training, passing: float, passes: Passes, *, before: float = 0.0
    ) -> PlannedStage:
        steps = self._steps(epochs)
        estimated = passes.statistics * min(SAMPLES, len(self.data.train))
        passed = epochs * (len(self.data.val) + estimated) + estimated + passes.test * len(self.data.test)
        seconds = before + training.once + steps * training.step + passed * passing
        return PlannedStage(name=name, title=TITLES[name], epochs=epochs, steps=steps, seconds=seconds)

    def _steps(self, epochs: int) -> int:
        return replace(self.plan.recipe, epochs=epochs).steps(len(self.data.train))

    def _exported(self, small: Network) -> float:
        def both() -> None:
            for network in (self.network, small):
                export(network, self.folder / "network.onnx", self.data, opset=self.plan.opset)

        self.progress(0.75, "exporting")
        return _timed(both)[1]

    def _disk(self, small: Network) -> tuple[int, int]:
        """Bytes of what a run leaves, and of what it needs while its training keeps states."""
        dense, least = _weights(self.network), _weights(small)
        kept = 3 * dense + 3 * least  # dense.pt, sparse.pt, dense.onnx; the shrunk, the recovered and the ONNX file
        states = (KEPT + 1) * (1 + OPTIMIZER_TENSORS[self.plan.recipe.optimizer]) * dense
        return kept, max(kept, 2 * dense + states)


def _stage(name: str, seconds: float) -> PlannedStage:
    return PlannedStage(name=name, title=TITLES[name], seconds=seconds)


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def _first(samples: Samples, count: int) -> Samples:
    return samples.take(torch.arange(min(count, len(samples))))


def _weights(network: Network) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in network.model.state_dict().values())


def _resident() -> int:
    """The most bytes that this process had resident so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
