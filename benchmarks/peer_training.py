"""What all methods of the comparison share: the network, the samples, the training loop, the measures of a result."""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peer_cells import Accuracy, Cell, Key, Seconds, Subject, stopwatch
from torch import nn

from compressor import __version__, load
from compressor.checkpoints import Network
from compressor.costs import count_macs, count_parameters
from compressor.data import load_data
from compressor.data.samples import DataSet
from compressor.files import sha256
from compressor.pipeline import RunPlan
from compressor.splitting import SplittingConfig
from compressor.stages.export import export
from compressor.training import train
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe
from compressor.training.views import Views, ask, draw_views

# Of the epochs, where another method trains with a regulariser; ours took as many when that was chosen.
SPARSE = 1 / 3
PACKAGES = ("torch-pruning", "torch", "onnxruntime")


class Bench:
    """A trained network with its data, on which one method after the other is tried."""

    def __init__(self, name: str, subject: Subject) -> None:
        self.name, self.subject = name, subject
        self._asked: dict[int, tuple[Views, Seconds]] = {}

    @cached_property
    def dense(self) -> Network:
        """The trained network."""
        return load(self.subject.checkpoint, trust_arch=True)

    @cached_property
    def data(self) -> DataSet:
        """The samples, split as for every method."""
        shape, limit = tuple(self.dense.metadata.input_shape), self.subject.max_train
        return load_data(self.subject.data, shape, max_train=limit)  # type: ignore[arg-type]

    @cached_property
    def dense_accuracy(self) -> float:
        """On the test part."""
        return self.accuracy(self.dense.model)

    def copy(self) -> nn.Module:
        """A copy of the dense network."""
        return copy.deepcopy(self.dense.model).eval()

    def macs(self, model: nn.Module) -> int:
        """Multiply-accumulates for one sample."""
        return count_macs(model, self.dense.example_input())

    def phases(self, seed: int) -> tuple[Recipe, Recipe]:
        """Sparse training and recovery of another method that has both, on one learning rate curve."""
        whole = self.plan(seed).recipe
        sparse = max(1, round(SPARSE * whole.epochs))
        rest = whole.epochs - sparse
        return replace(whole, epochs=sparse, after=rest), replace(whole, epochs=rest, before=sparse)

    def plan(self, seed: int) -> RunPlan:
        """A run of ours: its epochs and views are those of every method."""
        subject = self.subject
        recipe = Recipe(
            epochs=subject.epochs,
            lr=subject.lr,
            batch_size=subject.batch_size,
            seed=seed,
            device="cpu",
            precision=subject.precision,
        )
        return RunPlan(recipe=recipe, penalties=SplittingConfig(target_macs=0.5))

    def train(self, model: nn.Module, recipe: Recipe) -> Seconds:
        """Train in place, with the dense network as the teacher; how long it took."""
        views, _ = self.asked(recipe.seed)
        with stopwatch() as taken:
            train(model, self.data, recipe, normalization=self.dense.metadata.normalization, views=views)
        return taken[0]

    def asked(self, seed: int) -> tuple[Views, Seconds]:
        """What the dense network says of views of the training samples, asked once, and how long that took."""
        if seed not in self._asked:
            with stopwatch() as taken:
                views = draw_views(self.data, self.plan(seed).views, seed)
                logits = ask(self.dense.model, self.data, views, self.dense.metadata.normalization)
            self._asked[seed] = Views(views, logits), taken[0]
        return self._asked[seed]

    def accuracy(self, model: nn.Module, part: str = "test") -> float:
        """The share of the samples of that part whose class is right."""
        return model_accuracy(model, getattr(self.data, part), self.dense.metadata.normalization).value

    def cell(
        self,
        key: Key,
        model: nn.Module,
        onnx: Path,
        seconds: Seconds,
        steps: Mapping[str, float | None],
        settings: Mapping[str, Any],
    ) -> Cell:
        """The cell of a finished network, which is exported as well."""
        images = self.dense.example_input()
        with torch.no_grad():
            if not model(images).isfinite().all():
                raise ArithmeticError(f"{key.method} left a network whose outputs are not finite")
        export(self.dense.with_model(model), onnx, self.data)
        subject = self.subject
        common = {"epochs": subject.epochs, "batch_size": subject.batch_size, "lr": subject.lr}
        common |= {"max_train": subject.max_train, "precision": subject.precision, "checkpoint": self.fingerprint}
        return Cell(
            key=key,
            accuracy=Accuracy(
                dense=self.dense_accuracy,
                final=self.accuracy(model),
                validation=self.accuracy(model, "val"),
                **steps,  # type: ignore[arg-type]
            ),
            samples=len(self.data.test),
            macs=(self.macs(self.dense.model), self.macs(model)),
            parameters=(count_parameters(self.dense.model), count_parameters(model)),
            seconds=Seconds(wall=round(seconds.wall, 1), processor=round(seconds.processor, 1)),
            settings={**common, **settings},
            versions={"compressor": revision(), **{name: version(name) for name in PACKAGES}},
        )

    @cached_property
    def fingerprint(self) -> str:
        """The beginning of the checkpoint's SHA-256."""
        assert self.dense.source is not None
        return sha256(self.dense.source)[:12]


def revision() -> str:
    """The version of this project, and the commit where it is a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return __version__ if found.returncode else f"{__version__}+{found.stdout.strip()}"
