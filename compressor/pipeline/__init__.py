"""The whole road: fine-tune, shrink, recover, export, benchmark, report. The only place that knows the order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from msgspec import to_builtins
from torch import Tensor

from compressor.benchmarking import benchmark
from compressor.checkpoints import Network, load, save
from compressor.codec import write_report
from compressor.costs import count_macs, count_parameters
from compressor.data.batches import normalized
from compressor.data.samples import DataSet
from compressor.evaluating import onnx_accuracy
from compressor.export import describe, export_onnx
from compressor.pipeline.document import run_document
from compressor.pipeline.folder import Figures, RunFolder, holds_run, open_folder
from compressor.pipeline.layers import layer_changes
from compressor.pipeline.plan import RunPlan, settings_of
from compressor.progress import Progress, silent
from compressor.records import Metric, RunReport
from compressor.shrinking import remove_zero_channels
from compressor.splitting import SplittingConfig
from compressor.training.evaluation import model_accuracy
from compressor.training.fine_tuning import FineTuned, check_fit, check_target, fine_tune
from compressor.training.metrics import metrics_file

__all__ = ["RunPlan", "Watcher", "run"]

REAL_SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Who wants to know how the run goes; every callback may be left out."""

    start: Callable[[str], None] = lambda stage: None
    skip: Callable[[str], None] = lambda stage: None
    progress: Progress = field(default=silent)


def run(
    network: Network,
    data: DataSet,
    plan: RunPlan,
    out: Path,
    *,
    overwrite: bool = False,
    watcher: Watcher | None = None,
) -> RunReport:
    """Do or resume the run in folder ``out`` and return its report document, also written there.

    A target that was not met is in the document; files are kept. Raises what the stages raise.
    """
    check_fit(network, data)
    settings = settings_of(network, data, plan)
    if overwrite or not holds_run(out):
        check_target(network, plan.penalties)
    folder = open_folder(out, settings, overwrite=overwrite)
    stages = _Stages(network, data, plan, folder, watcher or Watcher())
    figures = {
        "dense": stages.do("dense", stages.dense),
        "fine-tune": stages.do("fine-tune", stages.fine_tune),
        "shrink": stages.do("shrink", stages.shrink),
        "recover": stages.do("recover", stages.recover),
        "export": stages.do("export", stages.export),
        "benchmark": stages.do("benchmark", stages.benchmark),
    }
    document = run_document(figures, settings, plan.command, plan.notes)
    write_report(folder.file("report.json"), document)
    return document


class _Stages:
    """Each method does one stage, writes its files, and returns its figures as plain data."""

    def __init__(self, network: Network, data: DataSet, plan: RunPlan, folder: RunFolder, watcher: Watcher) -> None:
        self.network, self.data, self.plan, self.folder, self.watcher = network, data, plan, folder, watcher

    def do(self, name: str, work: Callable[[], Figures]) -> Figures:
        def timed() -> Figures:
            self.watcher.start(name)
            began, clock = datetime.now(UTC), time.monotonic()
            figures = work()
            return {
                **figures,
                "started": began.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 2),
            }

        return self.folder.stage(name, timed, self.watcher.skip)

    def dense(self) -> Figures:
        self._save(self.network, "dense.pt")
        return self._described(self.network, "dense.pt")

    def fine_tune(self) -> Figures:
        epochs = self.plan.recipe.epochs - self.plan.recipe.epochs // 2
        tuned = self._train(self.network, "fine-tune", epochs, self.plan.penalties)
        self._save(tuned.network, "sparse.pt")
        projection = tuned.projection
        assert projection is not None
        assert projection.target is not None
        assert tuned.projected is not None
        return {
            **_training(tuned),
            **self._described(tuned.network, "sparse.pt", tuned.final),
            "projected": to_builtins(tuned.projected),
            "gap": projection.gap,
            "entries_zeroed": projection.entries_zeroed,
            "channels_zeroed": sum(projection.channels.values()) - sum(projection.kept.values()),
            "channels_total": sum(projection.channels.values()),
            "target": {
                "kind": projection.target.kind,
                "asked": projection.target.ratio,
                "reached": projection.reached,
                "met": projection.met,
            },
        }

    def shrink(self) -> Figures:
        sparse = self._load("sparse.pt")
        removal = remove_zero_channels(
            sparse.model, sparse.example_input(), real_inputs=self._real(), align=self.plan.penalties.align
        )
        small = Network(removal.model, sparse.metadata.with_stage("shrink", **removal.to_plain()))
        self._save(small, "small.pt")
        return {
            **self._described(small, "small.pt"),
            "removal": removal.to_plain(),
            "layers": layer_changes(sparse.model, small.model, sparse.example_input()),
        }

    def recover(self) -> Figures:
        small, epochs = self._load("small.pt"), self.plan.recipe.epochs // 2
        tuned = self._train(small, "recover", epochs, SplittingConfig())
        self._save(tuned.network, "recovered.pt")
        return {**_training(tuned), **self._described(tuned.network, "recovered.pt", tuned.final)}

    def export(self) -> Figures:
        exports = []
        for variant, source in (("dense", "dense.pt"), ("small", "recovered.pt")):
            network = self._load(source)
            exported = export_onnx(
                network.model,
                network.example_input(),
                self.folder.file(f"{variant}.onnx"),
                opset=self.plan.opset,
                metadata=describe(network.metadata),
                real_inputs=self._real(),
            )
            exports.append({"variant": variant, **exported.to_plain()})
        small = self.folder.file("small.onnx")
        accuracy = onnx_accuracy(small, self.data.test, self.network.metadata.normalization)
        return {"exports": exports, "accuracy": to_builtins(accuracy), "size_bytes": small.stat().st_size}

    def benchmark(self) -> Figures:
        files = [self.folder.file("dense.onnx"), self.folder.file("small.onnx")]
        measured = benchmark(files, names=["dense", "small"], progress=self.watcher.progress, **self.plan.timing)
        return {"benchmark": to_builtins(measured)}

    def _train(self, network: Network, stage: str, epochs: int, penalties: SplittingConfig) -> FineTuned:
        # The seed starts anew with every stage, so that a stage done again alone ends the same.
        recipe = replace(self.plan.recipe, epochs=epochs)
        with metrics_file(self.folder.file(f"{stage}.jsonl")) as write:
            return fine_tune(
                network,
                self.data,
                recipe,
                penalties,
                teacher=self.network.model,
                on_epoch=lambda epoch: write(to_builtins(epoch)),
                progress=self.watcher.progress,
            )

    def _described(self, network: Network, file: str, known: Metric | None = None) -> Figures:
        """Figures of a network and its file; its test accuracy is measured unless it is ``known``."""
        accuracy = known or model_accuracy(network.model, self.data.test, network.metadata.normalization)
        return {
            "accuracy": to_builtins(accuracy),
            "macs": count_macs(network.model, network.example_input()),
            "parameters": count_parameters(network.model),
            "size_bytes": self.folder.file(file).stat().st_size,
        }

    def _real(self) -> Tensor:
        images = self.data.test.images[:: max(1, len(self.data.test) // REAL_SAMPLES)][:REAL_SAMPLES]
        return normalized(images, self.network.metadata.normalization)

    def _save(self, network: Network, name: str) -> None:
        save(network, self.folder.file(name), overwrite=True)

    def _load(self, name: str) -> Network:
        # Its architecture was built once already, by the user's word.
        return load(self.folder.file(name), trust_arch=True)


def _training(tuned: FineTuned) -> Figures:
    return {"trained": to_builtins(tuned.trained), "epochs": [to_builtins(epoch) for epoch in tuned.epochs]}
