"""The stages of a run, in their order: each writes its files into the run folder, and its record last."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from compressor.benchmarking import benchmark
from compressor.checkpoints import Network, load, save
from compressor.codec import write_metrics
from compressor.costs import count_macs, count_parameters
from compressor.data.feeds import Data
from compressor.data.samples import DataSet
from compressor.errors import CompressorError
from compressor.groups.known import KnownGroups
from compressor.loggers import Log, logging_to
from compressor.pipeline.finished import Finished, FinishedRun
from compressor.pipeline.folder import RunFolder
from compressor.pipeline.kept_warnings import kept_warnings
from compressor.pipeline.plan import RunPlan
from compressor.pipeline.start import Start
from compressor.pipeline.teacher_views import TeacherViews, fit
from compressor.progress import Progress
from compressor.records import Metric
from compressor.records.benchmark import BenchmarkReport
from compressor.records.run import Export, StageRow
from compressor.records.stages import Evaluation, FineTuning, Shrinking
from compressor.stages import RE_ESTIMATED, ROWS, STAGES, TEACHER
from compressor.stages.chance import chance_doubt
from compressor.stages.evaluate import evaluate, evaluate_onnx
from compressor.stages.export import export
from compressor.stages.fine_tune import fine_tune
from compressor.stages.recover import recover
from compressor.stages.shrink import shrink
from compressor.training.states import States, remove_states
from compressor.training.views import Views

Result = TypeVar("Result")
Announce = Callable[[str], None]


class Stages:
    """Each method does one stage and returns its record with the rows that it makes in the report."""

    def __init__(
        self,
        start: Start,
        data: Data,
        plan: RunPlan,
        folder: RunFolder,
        groups: KnownGroups,
        progress: Progress,
    ) -> None:
        self.start, self.network = start, start.dense
        self.data, self.plan, self.folder = data, plan, folder
        self.groups, self.progress = groups, progress

    def run(self, start: Announce, skip: Announce) -> FinishedRun:
        """All stages; those that are finished already are read from the folder."""
        dense, tune, small, again, onnx, timing = (stage.name for stage in STAGES)

        def do(name: str, kind: type[Finished[Result]], work: Callable[[], Finished[Result]]) -> Finished[Result]:
            finished = self.folder.stage(name, kind, lambda: _timed(lambda: start(name), work), lambda: skip(name))
            remove_states(self._states(name))  # only now that the record is there
            return finished

        evaluated = do(dense, Finished[Evaluation], self.dense)
        tuned = do(tune, Finished[FineTuning], lambda: self.fine_tune(evaluated.rows[-1].metric))
        shrunk = do(small, Finished[Shrinking], self.shrink)
        return FinishedRun(
            dense=evaluated,
            fine_tune=tuned,
            shrink=shrunk,
            recover=do(again, Finished[FineTuning], lambda: self.recover(shrunk.rows[-1].metric)),
            export=do(onnx, Finished[tuple[Export, ...]], self.export),
            benchmark=do(timing, Finished[BenchmarkReport], self.benchmark),
        )

    def dense(self) -> Finished[Evaluation]:
        """Write the dense network, and the channel groups of the start, unless it does not know its task."""
        evaluation = evaluate(self.network, self.data)
        if not self.plan.allow_chance and (doubt := chance_doubt(self.network, self.data, evaluation.metric)):
            raise CompressorError(f"{doubt}; repeat the run with --overwrite and what is right, or with --allow-chance")
        self._save(self.network, "dense.pt")
        self.groups.kept()
        rows = self._rows(
            "dense", self.network, "dense.pt", (evaluation.metric, "the network as it came"), variant="dense"
        )
        return Finished(result=evaluation, rows=rows)

    def fine_tune(self, dense: Metric | None = None) -> Finished[FineTuning]:
        """The first epochs, with the penalty; the metric of the ``dense`` network is known."""
        with self._training("fine-tune") as (states, log):
            tuned = fine_tune(
                self.start.network,
                self.data,
                self.plan.sparse,
                self.start.penalties(self.plan.penalties),
                teacher=self.network.model,
                views=self._views(),
                before=_plain(dense) if self.start.is_dense else None,
                groups=self.groups.kept(),
                states=states,
                costs=self.plan.costs,
                runtime=self.plan.runtime,
                crew=self.plan.crew,
                log=log,
                progress=self.progress,
            )
            tuned = self.start.tuned(tuned, self.plan.penalties)
            self._save(tuned.network, "sparse.pt")
            write_metrics(self.folder.file("fine-tune.jsonl"), tuned.record.epochs)
        steps = _fine_tuning_steps(tuned.record)
        return Finished(result=tuned.record, rows=self._rows("fine-tune", tuned.network, "sparse.pt", *steps))

    def shrink(self) -> Finished[Shrinking]:
        """Remove the zero channels."""
        sparse = self._load("sparse.pt")
        # Zeros change neither the architecture nor what belongs together in it.
        shrunk = shrink(sparse, self.data, align=self.plan.penalties.align, groups=self.groups.kept())
        shrunk = self.start.shrunk(shrunk)
        self._save(shrunk.network, "shrunk.pt")
        metric, removal = evaluate(shrunk.network, self.data).metric, shrunk.record.removal
        note = f"{removal.channels_removed} of {removal.channels_total} channels removed, which changes no output"
        return Finished(result=shrunk.record, rows=self._rows("shrink", shrunk.network, "shrunk.pt", (metric, note)))

    def recover(self, shrunk: Metric | None = None) -> Finished[FineTuning]:
        """The other epochs, without a penalty; the metric of the ``shrunk`` network is known."""
        with self._training("recover") as (states, log):
            recovered = recover(
                self._load("shrunk.pt"),
                self.data,
                self.plan.recovery,
                teacher=self.network.model,
                views=self._views(),
                before=_plain(shrunk),
                crew=self.plan.crew,
                states=states,
                log=log,
                progress=self.progress,
            )
            self._save(recovered.network, "recovered.pt")
            write_metrics(self.folder.file("recover.jsonl"), recovered.record.epochs)
        note = f"trained on without a penalty{_together(recovered.record)}"
        rows = self._rows("recover", recovered.network, "recovered.pt", (recovered.record.final, note))
        return Finished(result=recovered.record, rows=rows)

    def export(self) -> Finished[tuple[Export, ...]]:
        """Dense and small as ONNX."""
        small, file = self._load("recovered.pt"), self.folder.file("small.onnx")
        pairs = ((self._load("dense.pt"), self.folder.file("dense.onnx")), (small, file))
        exports = tuple(export(network, path, self.data, opset=self.plan.opset) for network, path in pairs)
        metric = evaluate_onnx(file, self.data, self.network.metadata.normalization, like=small).metric
        rows = self._rows("export", small, "small.onnx", (metric, "through ONNX Runtime"), variant="small")
        return Finished(result=exports, rows=rows)

    def benchmark(self) -> Finished[BenchmarkReport]:
        """Both side by side."""
        measured = benchmark(
            [self.folder.file("dense.onnx"), self.folder.file("small.onnx")],
            provider=self.plan.provider,
            threads=self.plan.threads,
            max_seconds=self.plan.max_seconds,
            seed=self.plan.recipe.seed,
            allow_fallback=self.plan.allow_fallback,
            progress=self.progress,
        )
        return Finished(result=measured)

    def _rows(
        self, stage: str, network: Network, file: str, *steps: tuple[Metric | None, str], variant: str | None = None
    ) -> tuple[StageRow, ...]:
        """The rows of a stage, with the metric and the note of each step; a step that was not taken has no row.

        The file holds the network of the last one; before BatchNorm was re-estimated its statistics were stale.
        """
        cost = StageRow(
            stage="",
            variant=variant,
            metric=None,
            macs=count_macs(network.model, network.example_input()),
            parameters=count_parameters(network.model),
            parameters_nonzero=sum(int(parameter.count_nonzero()) for parameter in network.model.parameters()),
            size_bytes=self.folder.file(file).stat().st_size,
        )
        taken = [
            msgspec.structs.replace(cost, stage=name, metric=metric, note=note)
            for name, (metric, note) in zip(ROWS[stage], steps, strict=True)
            if metric is not None
        ]
        stale = taken[-1].stage == RE_ESTIMATED
        before = [msgspec.structs.replace(row, size_bytes=None, stale=stale) for row in taken[:-1]]
        return *before, msgspec.structs.replace(taken[-1], file=file)

    def _views(self) -> Views | None:
        """What the dense network says of views of the training images; None of a user's batches, or too many images."""
        if not isinstance(self.data, DataSet) or not fit(self.plan.views, self.data):
            return None
        recipe = self.plan.recipe
        file = self.folder.file(TEACHER)
        kept = TeacherViews(
            self.network, self.data, file, count=self.plan.views, seed=recipe.seed, device=recipe.device
        )
        return kept.get(self.progress)

    @contextmanager
    def _training(self, stage: str) -> Iterator[tuple[States, Log | None]]:
        """The states of a stage's training, and where its figures go."""
        plan = self.plan
        with (
            States(self._states(stage), every=plan.checkpoint_every, steps=plan.checkpoint_steps) as states,
            logging_to(plan.log, self.folder.file(f"logs/{stage}"), vars(plan.recipe)) as log,
        ):
            yield states, log

    def _states(self, stage: str) -> Path:
        """What the folders with the states of a stage's training begin with."""
        return self.folder.file(f"stages/{stage}")

    def _save(self, network: Network, name: str) -> None:
        save(network, self.folder.file(name), overwrite=True)

    def _load(self, name: str) -> Network:
        # The folder may come from somebody else; the user's word covers the architecture of this command alone.
        return load(self.folder.file(name), trusted=self.network.metadata.architecture)


def _fine_tuning_steps(record: FineTuning) -> list[tuple[Metric | None, str]]:
    """The metric and the note of each row of a fine-tuning: trained, projected, re-estimated."""
    projection = record.projection
    zeros = f"{projection.channels_zeroed} of {projection.channels_total} channels zero" if projection else ""
    if projection and projection.zeros:
        zeros += f", {100 * projection.zeros:.1f} % of the other weights"
    zeros += f", the best of {record.trials.networks} choices that were tried" if record.trials and zeros else ""
    stale = "; BatchNorm statistics still lag behind" if record.reestimated else ""
    return [
        (record.trained, f"end of sparse training{_together(record)}{_computed(record)}{stale}"),
        (record.projected, f"{zeros}{stale}"),
        (record.reestimated, "BatchNorm statistics re-estimated, the weights are the same"),
    ]


def _together(record: FineTuning) -> str:
    return f" by {record.processes} processes" if record.processes > 1 else ""


def _computed(record: FineTuning) -> str:
    """In which precision, where that was measured."""
    return "" if record.precision is None else f", computed in {record.precision.chosen}"


def _plain(metric: Metric | None) -> Metric | None:
    """Without which samples were right, which rows have and records of a training have not."""
    return None if metric is None else msgspec.structs.replace(metric, outcomes=None)


def _timed(start: Callable[[], None], work: Callable[[], Finished[Result]]) -> Finished[Result]:
    start()
    began, clock = datetime.now(UTC), time.monotonic()
    with kept_warnings() as warned:
        finished = work()
    return msgspec.structs.replace(
        finished,
        warnings=tuple(warned),
        started=began.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 2),
    )
