"""One network compressed by method budget or in one shot, with the test images it gets wrong at every stage."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from plain_norms import SALIENCIES, project
from torch import nn

from compressor import Splitting
from compressor.checkpoints import Network, fresh, load, save
from compressor.data import load_data
from compressor.data.batches import batches
from compressor.data.samples import DataSet
from compressor.shrinking import remove_zero_channels
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.training import train
from compressor.training.batchnorm import reestimate
from compressor.training.recipe import Recipe

STAGES = ("dense", "trained", "projected", "removed", "statistics", "recovered")
# Enough for stable statistics, as in `compress fine-tune`.
NORM_BATCHES, NORM_BATCH = 16, 128


@dataclass(frozen=True, kw_only=True)
class Method:
    """How the zeros come about: by sparse training with ``options``, or in one shot before any training."""

    options: Mapping[str, Any] = field(default_factory=dict)
    saliency: str = "ours"
    one_shot: bool = False

    @property
    def control(self) -> bool:
        """Whether it is there for comparison only."""
        return self.one_shot or self.saliency != "ours"


METHODS = {
    "group l0": Method(),
    "group l0 and l1-l2": Method(options={"penalty": "l1-l2"}),
    "group l0, plain norms": Method(saliency="plain norms"),
    "one-shot": Method(one_shot=True),
    "one-shot, plain norms": Method(one_shot=True, saliency="plain norms"),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and its data; ``embedded`` is the network of split 0, ``methods`` are those of `METHODS` to run."""

    arch: str
    data: str
    dense: Recipe
    epochs: int
    """Of sparse training, and as many again of recovery."""
    arch_args: Mapping[str, Any] = field(default_factory=dict)
    embedded: str | None = None
    methods: tuple[str, ...] = tuple(METHODS)


@dataclass(frozen=True, kw_only=True)
class Dense:
    """The dense network of one run, trained where it is not embedded."""

    case: Case
    split: int
    seed: int
    folder: Path

    @property
    def path(self) -> Path:
        """Its checkpoint."""
        return self.folder / f"dense-{self.case.arch}-split-{self.split}-seed-{self.seed}.pt"

    @property
    def file(self) -> str:
        """Where its figures are kept."""
        return self.path.with_suffix(".json").name

    @property
    def given(self) -> bool:
        """Whether it is embedded and needs no training."""
        return self.case.embedded is not None and self.split == 0

    def load(self) -> Network:
        """The trained network."""
        return load(self.case.embedded if self.given and self.case.embedded else self.path)

    def read(self, network: Network) -> DataSet:
        """The data of its split."""
        channels, height, width = network.metadata.input_shape
        return load_data(self.case.data, (channels, height, width), split_seed=self.split)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One compression of ``dense`` to ``target`` of its MACs; ``seed`` decides the order of the images."""

    dense: Dense
    method: str
    seed: int
    target: float

    @property
    def file(self) -> str:
        """Where its figures are kept."""
        name = self.method.replace(", ", "-").replace(" ", "-")
        case = self.dense.case
        return f"{case.arch}-{name}-{self.target:g}-{case.epochs}-epochs-split-{self.dense.split}-seed-{self.seed}.json"


def train_dense(job: Dense) -> dict[str, Any]:
    """Train the dense network of a run, from random weights."""
    began = time.monotonic()
    recipe = job.case.dense
    start = fresh(job.case.arch, arch_args=job.case.arch_args, seed=job.seed)
    tuned = fine_tune(start, job.read(start), _seeded(recipe, job.seed, recipe.epochs), SplittingConfig())
    save(tuned.network, job.path, overwrite=True)
    return {"accuracy": tuned.record.final.value, "seconds": time.monotonic() - began}


def compress(job: Job) -> dict[str, Any]:
    """Zeros, removal, recovery: the wrong test images of every stage, and what the zeros are worth."""
    began, method = time.monotonic(), METHODS[job.method]
    dense, epochs = job.dense.load(), job.dense.case.epochs
    data = job.dense.read(dense)
    model, wrong = copy.deepcopy(dense.model), {"dense": wrong_images(dense.model, data)}
    recipe = _seeded(job.dense.case.dense, job.seed, epochs, lr=None)
    steps = 1 if method.one_shot else recipe.steps(len(data.train))
    splitting = Splitting(
        model,
        dense.example_input(),
        total_steps=steps,
        target_macs=job.target,
        **method.options,
        saliency=SALIENCIES[method.saliency],
    )
    if not method.one_shot:
        train(model, data, recipe, normalization=data.normalization, splitting=splitting, teacher=dense.model)
        wrong["trained"] = wrong_images(model, data)
    projection = project(splitting)
    wrong["projected"] = wrong_images(model, data)
    shrunk = remove_zero_channels(model, dense.example_input())
    wrong["removed"] = wrong_images(shrunk.model, data)
    new_statistics(shrunk.model, data, job.seed)
    wrong["statistics"] = wrong_images(shrunk.model, data)
    # One-shot saved the epochs of sparse training: they go into its recovery.
    recovery = _seeded(recipe, job.seed, 2 * epochs if method.one_shot else epochs)
    recovered = fine_tune(dense.with_model(shrunk.model), data, recovery, SplittingConfig(), teacher=dense.model)
    wrong["recovered"] = wrong_images(recovered.network.model, data)
    return {
        "method": job.method,
        "split": job.dense.split,
        "seed": job.seed,
        "images": len(data.test),
        "wrong": wrong,
        "gap": projection.gap,
        "MACs": projection.reached,
        "kept": dict(projection.kept),
        "removal float64": shrunk.removal.float64,
        "removal float32": shrunk.removal.float32,
        "seconds": time.monotonic() - began,
    }


@torch.no_grad()
def wrong_images(model: nn.Module, data: DataSet) -> list[int]:
    """Which test images a network gets wrong."""
    model.eval()
    found = [
        model(images).argmax(1) != labels
        for images, labels in batches(data.test, batch_size=256, normalization=data.normalization)
    ]
    places: list[int] = torch.cat(found).nonzero().flatten().tolist()
    return places


def new_statistics(model: nn.Module, data: DataSet, seed: int) -> None:
    """Re-estimate BatchNorm on training images, as `compress fine-tune` does after projection."""
    found = batches(
        data.train,
        batch_size=min(NORM_BATCH, len(data.train)),
        normalization=data.normalization,
        shuffle=torch.Generator().manual_seed(seed),
        augmentation=data.augmentation,
        drop_last=True,
    )
    reestimate(model, (images for (images, _), _ in zip(found, range(NORM_BATCHES), strict=False)))


def accuracy_with_new_statistics(data: DataSet, model: nn.Module) -> float:
    """Test accuracy in percent after `new_statistics`, which stay."""
    new_statistics(model, data, seed=0)
    return 100 * (1 - len(wrong_images(model, data)) / len(data.test))


def _seeded(recipe: Recipe, seed: int, epochs: int, **changes: Any) -> Recipe:
    return Recipe(**{**vars(recipe), "device": "cpu", "seed": seed, "epochs": epochs, **changes})
