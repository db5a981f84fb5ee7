"""Fine-tune a network, with or without penalties."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from torch import nn

from compressor.checkpoints import DataChoice, Metadata, Network
from compressor.costs import count_macs, count_parameters
from compressor.data.normalization import Normalization
from compressor.data.samples import DataSet
from compressor.errors import CompressorWarning
from compressor.groups import ChannelGroup
from compressor.progress import Progress
from compressor.records import Metric
from compressor.records.run import Epoch
from compressor.records.stages import FineTuning, Projection
from compressor.splitting import SplittingConfig, build_splitting
from compressor.splitting.base import SplittingBase
from compressor.stages.samples import check_fit
from compressor.training import train
from compressor.training.batchnorm import reestimate_on
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe

OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned network and its record."""

    network: Network
    record: FineTuning


def fine_tune(
    network: Network,
    data: DataSet,
    recipe: Recipe,
    penalties: SplittingConfig | None = None,
    *,
    teacher: nn.Module | None = None,
    groups: Sequence[ChannelGroup] | None = None,
    on_epoch: OnEpoch | None = None,
    progress: Progress | None = None,
) -> FineTuned:
    """Train a copy of ``network`` on ``data``; with ``penalties``, project it so that zeros are exact.

    Half of the loss comes from the soft labels of ``teacher`` when there is one. ``groups`` saves finding them again.
    `TargetNotMet` is raised before any training when the target cannot be reached, `DataError` when the data do not
    fit the network.
    """
    check_fit(network, data)
    penalties = penalties or SplittingConfig()
    model, normalization = copy.deepcopy(network.model), network.metadata.normalization
    example, steps = network.example_input(), recipe.steps(len(data.train))
    splitting = None
    if penalties.any:
        splitting = build_splitting(
            model,
            example,
            penalties,
            total_steps=steps,
            epoch_steps=steps // recipe.epochs,
            samples=len(data.train),
            groups=groups,
        )
    before = model_accuracy(model, data.test, normalization)
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
    trained = model_accuracy(model, data.test, normalization, outcomes=True)
    projection, projected, reestimated = _projected(model, data, recipe, normalization, splitting)
    record = FineTuning(
        before=before,
        trained=trained,
        projected=projected,
        reestimated=reestimated,
        projection=projection,
        epochs=epochs,
        macs=count_macs(model, example),
        parameters=count_parameters(model),
    )
    return FineTuned(Network(model, _metadata(network.metadata, data, recipe, penalties, record)), record)


def check_target(network: Network, penalties: SplittingConfig, groups: Sequence[ChannelGroup] | None = None) -> None:
    """Raise `TargetNotMet` when no training can reach the target of ``penalties``."""
    if penalties.target is not None:
        build_splitting(
            network.model,
            network.example_input(),
            penalties,
            total_steps=1,
            epoch_steps=1,
            samples=1,
            groups=groups,
        )


def _projected(
    model: nn.Module,
    data: DataSet,
    recipe: Recipe,
    normalization: Normalization | None,
    splitting: SplittingBase | None,
) -> tuple[Projection | None, Metric | None, Metric | None]:
    """Make zeros exact, then re-estimate BatchNorm; the metric after each, None where it was not done."""
    if splitting is None:
        return None, None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressorWarning)  # they are in the record
        projection = splitting.project()
    projected = model_accuracy(model, data.test, normalization, outcomes=True)
    touched = reestimate_on(model, data, normalization, recipe.seed)
    reestimated = model_accuracy(model, data.test, normalization, outcomes=True) if touched else None
    return projection, projected, reestimated


def _metadata(
    known: Metadata, data: DataSet, recipe: Recipe, penalties: SplittingConfig, record: FineTuning
) -> Metadata:
    settings = vars(penalties) if penalties.any else {}
    figures: dict[str, Any] = {**vars(recipe), **settings, "data": data.ref, "test_accuracy": record.final.value}
    if projection := record.projection:
        figures |= {
            "gap": projection.gap,
            "reached": projection.target.reached if projection.target is not None else None,
            "sparsity": msgspec.to_builtins(projection.sparsity),
        }
    choice = DataChoice(ref=data.ref, split_seed=data.split_seed, val_fraction=data.val_fraction)
    described = known.with_stage("fine-tune", **figures)
    return replace(described, data=choice, classes=known.classes or data.classes)
