"""Prune a network without training: choose channels by data, remove them, and fit what is left in closed form."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from compressor.checkpoints import Metadata, Network
from compressor.computed_weights import folded
from compressor.costs import count_macs, count_parameters
from compressor.data.feeds import Data
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups import ChannelGroup, find_groups
from compressor.progress import Progress, silent
from compressor.reconstruction import reconstruct
from compressor.records.costs import Aims, Costs
from compressor.records.prune import LayerFit, Pruning
from compressor.splitting import SplittingConfig
from compressor.splitting.config import TARGETS
from compressor.splitting.prunable import Prunable
from compressor.splitting.selection import Selection
from compressor.stages.aim import Runtime, aim, aim_settled
from compressor.stages.likeness import Outputs
from compressor.stages.own_losses import own_losses
from compressor.stages.samples import check_fit, varied_batches
from compressor.stages.shrink import layer_changes
from compressor.stages.trials import Trials, tried, without
from compressor.training.batchnorm import reestimate_on

# Images by which layers are fitted, and of them those by which channels are chosen.
SAMPLES, CHOSEN_BY = 1024, 512
SALIENCY = "fisher"
# Shares of the progress when measuring and fitting begin, and when fitting ends.
MEASURED, FIT, FITTED = 0.3, 0.4, 0.9


@dataclass(frozen=True)
class Pruned:
    """A network without some channels, and the record of what that changed."""

    network: Network
    record: Pruning


def prune(
    network: Network,
    data: Data,
    target: SplittingConfig,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    saliency: str = SALIENCY,
    least_squares: bool = True,
    groups: Sequence[ChannelGroup] | None = None,
    costs: Costs | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Pruned:
    """A smaller copy of ``network`` within the targets of ``target``, which makes about what ``network`` makes.

    Channels are chosen by ``saliency`` and the layers fitted on so many ``samples`` of the training part, drawn by
    ``seed``, of which no label is used: labels count in the figures on the test part alone, and a user's batches need
    no task but for them. Without ``least_squares`` only BatchNorm is re-estimated. Targets in latency and bytes are
    measured as in `fine_tune`.

    Raises `TargetNotMet` when a target cannot be reached, `DataError` when the data do not fit the network.
    """
    _check(network, data, target, samples)
    tell, example = progress or silent, network.example_input()
    # Weights that are computed from others cannot be chosen.
    network = network.with_model(folded(network.model))
    groups = find_groups(network.model, example) if groups is None else groups
    aims = aim(network, target, groups=groups, costs=costs, runtime=runtime)
    prunable, drawn = Prunable(network.model, example, groups, target), varied_batches(network, data, samples, seed)
    tell(0.1, "choosing channels")
    selection = _selection(network, data, prunable, target, aims, samples, saliency, seed)
    if target.trials:
        trials = Trials(network, prunable.groups, drawn, target.align, data.task)
        selection.settle(trials.loss, target.trials)
        aims = aim_settled(network, target, selection, aims, runtime=runtime, progress=_measuring(tell))
    selection.select()
    shrunk = without(network.model, prunable.groups, selection.channels.dropped(), example, target.align)
    dense_outputs = Outputs(network, data)
    small, repaired = shrunk.model, copy.deepcopy(shrunk.model)
    reestimate_on(repaired, data, network.metadata.normalization, seed)
    removed = fitted = dense_outputs.beside(repaired)
    fits: tuple[LayerFit, ...] = ()
    left: Mapping[str, str] = {}
    if least_squares:
        dense = copy.deepcopy(network.model)
        inputs = drawn.map(data.task.inputs)
        fits, left = reconstruct(dense, small, groups, shrunk.gone, inputs, progress=_fitting(tell))
        fitted = dense_outputs.beside(small)
    else:
        small = repaired
    record = Pruning(
        data=data.ref,
        samples=len(drawn),
        channels=shrunk.channels,
        targets=tuple(selection.outcomes(selection.kept)),
        trials=tried(selection.spread),
        dense=dense_outputs.metric,
        removed=removed,
        fitted=fitted,
        fits=fits,
        left=left,
        aims=aims if aims != Aims() else None,
        **_costs(network.model, small, example),
    )
    return Pruned(Network(small, _metadata(network, target, record, saliency, seed)), record)


def _check(network: Network, data: Data, target: SplittingConfig, samples: int) -> None:
    check_fit(network, data)
    if not target.targets:
        raise UsageError(f"prune needs a target: {TARGETS}")
    if samples < 2:
        raise UsageError(f"--samples must be at least 2, got {samples}")


def _costs(dense: nn.Module, small: nn.Module, example: Inputs) -> dict[str, Any]:
    """What both cost, as fields of the record."""
    return {
        "macs": (count_macs(dense, example), count_macs(small, example)),
        "parameters": (count_parameters(dense), count_parameters(small)),
        "layers": layer_changes(dense, small, example),
    }


def _measuring(tell: Progress) -> Progress:
    """Where it lies in the whole that the chosen network is measured."""
    return lambda share, text: tell(MEASURED + (FIT - MEASURED) * share, text)


def _fitting(tell: Progress) -> Progress:
    """Where the fitting lies in the whole."""
    return lambda share, text: tell(FIT + (FITTED - FIT) * share, text)


def _selection(
    network: Network,
    data: Data,
    prunable: Prunable,
    target: SplittingConfig,
    aims: Aims,
    samples: int,
    saliency: str,
    seed: int,
) -> Selection:
    """What knows which channels are worth keeping."""
    selection = Selection(prunable, replace(target, saliency=saliency), aims, seed=seed)
    if selection.saliency.observes:
        raise UsageError(f"saliency {saliency} learns from the gradients of a training; use fisher or weights")
    if selection.saliency.calibrated:
        selection.saliency.learn(own_losses(network, data, min(CHOSEN_BY, samples), samples, seed))
    return selection


def _metadata(network: Network, target: SplittingConfig, record: Pruning, saliency: str, seed: int) -> Metadata:
    """What is known of the network, and how it was pruned."""
    asked = {f"target_{one.kind}": one.asked for one in target.targets}
    return network.metadata.with_stage(
        "prune",
        **asked,
        align=str(target.align),
        saliency=saliency,
        samples=record.samples,
        seed=seed,
        fitted=len(record.fits),
        data=record.data,
        reached={one.kind: one.reached for one in record.targets},
        **({f"test_{metric.name.replace(' ', '_')}": metric.value} if (metric := record.fitted.metric) else {}),
        **({"agreement": record.fitted.agreement} if record.fitted.agreement is not None else {}),
    )
