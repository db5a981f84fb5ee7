"""What a network without some channels loses, known before it is trained: it is built, fitted and asked."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.checkpoints import Network
from compressor.costs import count_macs
from compressor.data.feeds import Data
from compressor.equivalence import Inputs, eval_mode
from compressor.groups import ChannelGroup, zero
from compressor.reconstruction import Fit, Given, reconstruct
from compressor.reconstruction.given import joined
from compressor.records.costs import Aims
from compressor.records.stages import Tried
from compressor.shrinking import Shrunk, remove_zero_channels
from compressor.splitting import Splitting, SplittingConfig, build_splitting
from compressor.splitting.base import SplittingBase
from compressor.splitting.spreading import Spread
from compressor.stages.samples import varied_batches
from compressor.structures import mapped
from compressor.tasks.base import Task
from compressor.tasks.classification import CLASSIFICATION
from compressor.training.calibration import batch_losses, sample_losses
from compressor.training.evaluation import named
from compressor.user_code import foreign

# Samples by which networks are compared, at least and at most, and half as many by which layers are fitted, with so
# many rows each: fewer than for a network that is kept, as many as tell better ones from worse. Between these bounds
# a forward pass over the samples takes so many MACs.
FEWEST, MOST, ROWS, WORK = 64, 512, 4096, 2.2e10
BATCH = 128


class Trials:
    """Tries networks without some channels of ``groups``, on ``batches`` (samples, ...), of which it takes a few.

    Networks that lose less, as the ``task`` compares outputs, do better after a training too: docs/decisions/0038.
    """

    def __init__(
        self,
        network: Network,
        groups: Sequence[ChannelGroup],
        batches: Tensor | Given,
        align: str | int,
        task: Task = CLASSIFICATION,
    ) -> None:
        self._model, self._groups, self._align, self._task = network.model, tuple(groups), align, task
        self._example, given, most = network.example_input(), Given.of(batches), samples_for(network)
        fitted, others = given.cut(max(2, min(most, len(given)) // 3))
        left = None if others is None else others.cut(most - len(fitted))[0]
        self._fitted_on, self._compared_on = fitted.map(task.inputs), left or given
        self._wanted = self._outputs(self._model)

    def loss(self, dropped: Sequence[Tensor]) -> float:
        """How far the outputs are from those of the dense network: of classes the mean divergence of probabilities.

        ``dropped`` holds a bool (channels,) tensor a group.
        """
        shrunk = without(self._model, self._groups, dropped, self._example, self._align)
        dense = copy.deepcopy(self._model)
        reconstruct(dense, shrunk.model, self._groups, shrunk.gone, self._fitted_on, Fit(rows=ROWS))
        given = self._outputs(shrunk.model)
        with foreign(f"the outputs of {named(self._task)} cannot be compared"):
            losses = [float(self._task.distance(*pair)) for pair in zip(given, self._wanted, strict=True)]
        return sum(losses) / len(losses)

    @torch.no_grad()
    def _outputs(self, model: nn.Module) -> Sequence[Any]:
        """What the task compares: of all samples together, where they fit together, else of each call."""
        with eval_mode(model), foreign(f"the outputs of {named(self._task)} failed"):
            said = [self._task.outputs(model, part) for part in self._compared_on.split(BATCH)]
        return joined([mapped(one, lambda x: x.float() if x.is_floating_point() else x) for one in said])


def samples_for(network: Network) -> int:
    """How many samples trials take: one third to fit layers by, the others to compare by."""
    compared = WORK / count_macs(network.model, network.example_input())
    return int(1.5 * min(MOST, max(FEWEST, compared)))


def settle(splitting: Splitting, network: Network, data: Data, trials: int, seed: int) -> None:
    """Before the training of ``network``, choose the channels that stay, as far as that can be done."""
    normalization = network.metadata.normalization
    if splitting.needs_calibration:
        splitting.calibrate(sample_losses(network.model, data, normalization, seed=seed))
    if not trials or not splitting.groups:
        return
    if splitting.observes:
        splitting.calibrate(batch_losses(network.model, data, normalization, seed=seed))
    batches = varied_batches(network, data, samples_for(network), seed)
    splitting.settle(Trials(network, splitting.groups, batches, splitting.config.align, data.task).loss, trials)


def untrained_splitting(
    network: Network,
    penalties: SplittingConfig,
    groups: Sequence[ChannelGroup] | None,
    aims: Aims | None = None,
    seed: int = 0,
) -> SplittingBase:
    """A splitting of one step, to see what its targets come to; `TargetNotMet` where they cannot be reached."""
    example, once = network.example_input(), {"total_steps": 1, "epoch_steps": 1, "samples": 1}
    return build_splitting(network.model, example, penalties, **once, groups=groups, aims=aims, seed=seed)


def seconds_of_settling(
    network: Network, data: Data, penalties: SplittingConfig, groups: Sequence[ChannelGroup], aims: Aims, seed: int
) -> float:
    """About how long `settle` takes, from one try and two."""
    seconds = []
    for count in (1, 2):
        untrained = untrained_splitting(network, penalties, groups, aims, seed)
        assert isinstance(untrained, Splitting)
        began = time.perf_counter()
        settle(untrained, network, data, min(count, penalties.trials or 0), seed)
        seconds.append(time.perf_counter() - began)
    return seconds[0] + max(0.0, seconds[1] - seconds[0]) * ((penalties.trials or 1) - 1)


def without(
    model: nn.Module, groups: Sequence[ChannelGroup], dropped: Sequence[Tensor], example: Inputs, align: str | int
) -> Shrunk:
    """A copy of ``model`` without the ``dropped`` channels, bool (channels,) for each group."""
    zeroed = copy.deepcopy(model)
    for group, gone in zip(groups, dropped, strict=True):
        zero(zeroed, group, gone)
    return remove_zero_channels(zeroed, example, align=align, groups=groups)


def tried(found: Spread | None) -> Tried | None:
    """The record of a search; None of none, and where no network had numbers as outputs."""
    if found is None or not math.isfinite(found.loss):
        return None
    first = found.first if math.isfinite(found.first) else None
    return Tried(networks=found.tried, first=first, best=found.loss)
