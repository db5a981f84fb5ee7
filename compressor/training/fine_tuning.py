"""Fine-tune a network, with or without penalties: the stage behind ``compress fine-tune``."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from msgspec.structs import asdict
from torch import nn

from compressor.checkpoints import DataChoice, Network
from compressor.costs import count_macs, count_parameters
from compressor.data.batches import batches
from compressor.data.normalization import Normalization
from compressor.data.samples import DataSet
from compressor.errors import DataError
from compressor.progress import Progress
from compressor.records import Epoch, Metric
from compressor.splitting import Projection, Splitting, SplittingConfig
from compressor.training.batchnorm import reestimate
from compressor.training.evaluation import model_accuracy
from compressor.training.loop import train
from compressor.training.recipe import Recipe

# Enough samples for stable means and variances, few enough to take no time.
NORM_SAMPLES = 2048
NORM_BATCH = 128


@dataclass(frozen=True, kw_only=True)
class FineTuned:
    """A fine-tuned network and the figures on the way; accuracies are on the test part."""

    network: Network
    before: Metric
    trained: Metric
    projected: Metric | None
    final: Metric
    projection: Projection | None
    epochs: tuple[Epoch, ...]
    macs: int
    parameters: int

    @property
    def met(self) -> bool:
        """Whether the target was met; True without one."""
        return self.projection is None or self.projection.met


def fine_tune(
    network: Network,
    data: DataSet,
    recipe: Recipe,
    penalties: SplittingConfig,
    *,
    teacher: nn.Module | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    progress: Progress | None = None,
) -> FineTuned:
    """Train a copy of ``network`` on ``data``; with penalties, project it so that zeros are exact.

    `TargetNotMet` is raised before any training when the target cannot be reached, `DataError` when the
    data do not fit the network.
    """
    check_fit(network, data)
    model, normalization = copy.deepcopy(network.model), network.metadata.normalization
    example = network.example_input()
    splitting = _splitting(model, network, recipe, penalties, len(data.train)) if penalties.any else None
    before = model_accuracy(model, data.test, normalization)
    with torch.random.fork_rng(devices=[]):
        # Dropout in the user's network draws from the global generator.
        torch.manual_seed(recipe.seed)
        epochs = train(
            model,
            data,
            recipe,
            normalization=normalization,
            splitting=splitting,
            teacher=copy.deepcopy(teacher),
            on_epoch=on_epoch,
            progress=progress,
        )
    trained = model_accuracy(model, data.test, normalization)
    projection = projected = None
    if splitting is not None:
        projection = splitting.project()
        projected = model_accuracy(model, data.test, normalization)
        _reestimate(model, data, normalization, recipe.seed)
    final = model_accuracy(model, data.test, normalization) if projected is not None else trained
    return FineTuned(
        network=Network(model, _metadata(network, data, recipe, penalties, projection, final)),
        before=before,
        trained=trained,
        projected=projected,
        final=final,
        projection=projection,
        epochs=epochs,
        macs=count_macs(model, example),
        parameters=count_parameters(model),
    )


def check_fit(network: Network, data: DataSet) -> None:
    """Raise `DataError` when images or classes of ``data`` do not fit the network."""
    wanted, has = tuple(network.metadata.input_shape), data.input_shape
    if wanted != has:
        raise DataError(f"the network wants images of {_x(wanted)}, {data.ref} holds {_x(has)}")
    outputs = network.try_input()
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        raise DataError("the network does not return class scores (images x classes), which training needs")
    if outputs.shape[1] < len(data.classes):
        raise DataError(f"the network tells {outputs.shape[1]} classes apart, {data.ref} has {len(data.classes)}")
    names = network.metadata.classes or ()
    if outputs.shape[1] < len(names):
        raise DataError(f"the network tells {outputs.shape[1]} classes apart, {len(names)} class names were given")


def check_target(network: Network, penalties: SplittingConfig) -> None:
    """Raise `TargetNotMet` when no training can reach the target of ``penalties``."""
    if penalties.target is not None:
        Splitting(network.model, network.example_input(), total_steps=1, **vars(penalties))


def _splitting(
    model: nn.Module, network: Network, recipe: Recipe, penalties: SplittingConfig, samples: int
) -> Splitting:
    steps = recipe.steps(samples)
    return Splitting(
        model,
        network.example_input(),
        total_steps=steps,
        epoch_steps=steps // recipe.epochs,
        samples=samples,
        **vars(penalties),
    )


def _reestimate(model: nn.Module, data: DataSet, normalization: Normalization | None, seed: int) -> None:
    """On images augmented as in training: plain ones have other statistics, which cost a CIFAR network 5 points."""
    generator = torch.Generator().manual_seed(seed)
    samples = data.train.take(torch.randperm(len(data.train), generator=generator)[:NORM_SAMPLES])
    # Without the short last batch: each counts the same, and BatchNorm refuses a single value.
    size = min(NORM_BATCH, len(samples))
    found = batches(
        samples,
        batch_size=size,
        normalization=normalization,
        shuffle=generator,
        augmentation=data.augmentation,
        drop_last=True,
    )
    reestimate(model, (images for images, _ in found))


def _metadata(
    network: Network,
    data: DataSet,
    recipe: Recipe,
    penalties: SplittingConfig,
    projection: Projection | None,
    final: Metric,
) -> Any:
    settings = {name: value for name, value in vars(penalties).items() if penalties.any}
    figures: dict[str, Any] = {**vars(recipe), **settings, "data": data.ref, "test_accuracy": final.value}
    if projection is not None:
        zeros = {name: asdict(found) for name, found in projection.sparsity.items()}
        figures |= {"gap": projection.gap, "reached": projection.reached, "sparsity": zeros}
    known = network.metadata.with_stage("fine-tune", **figures)
    choice = DataChoice(ref=data.ref, split_seed=data.split_seed, val_fraction=data.val_fraction)
    return replace(known, data=choice, classes=known.classes or data.classes)


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
