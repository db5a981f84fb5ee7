"""What a network without some channels loses, known before it is trained: it is built, fitted and asked."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.checkpoints import Network
from compressor.costs import count_macs
from compressor.data.batches import batches
from compressor.data.samples import Augmentation, DataSet, Samples
from compressor.equivalence import Inputs, eval_mode
from compressor.groups import ChannelGroup, zero
from compressor.reconstruction import Fit, reconstruct
from compressor.records.costs import Aims
from compressor.records.stages import Tried
from compressor.shrinking import Shrunk, remove_zero_channels
from compressor.splitting import Splitting, SplittingConfig, build_splitting
from compressor.splitting.base import SplittingBase
from compressor.splitting.spreading import Spread
from compressor.training.calibration import batch_losses, sample_losses

# Samples by which networks are compared, at least and at most, and half as many by which layers are fitted, with so
# many rows each: fewer than for a network that is kept, as many as tell better ones from worse. Between these bounds
# a forward pass over the samples takes so many MACs.
FEWEST, MOST, ROWS, WORK = 64, 512, 4096, 2.2e10
BATCH = 128


class Trials:
    """Tries networks without some channels of ``groups``, on ``images`` (samples, ...), of which it takes a few.

    Networks that lose less are more accurate after a training too: docs/decisions/0038.
    """

    def __init__(self, network: Network, groups: Sequence[ChannelGroup], images: Tensor, align: str | int) -> None:
        self._model, self._groups, self._align = network.model, tuple(groups), align
        self._example = network.example_input()
        most = samples_for(network)
        some = max(2, min(most, len(images)) // 3)
        self._fitted_on = images[:some]
        self._compared_on = images[some:most] if len(images) > some else images
        self._wanted = _outputs(self._model, self._compared_on)

    def loss(self, dropped: Sequence[Tensor]) -> float:
        """The mean divergence of the outputs, as probabilities of classes, from those of the dense network.

        ``dropped`` holds a bool (channels,) tensor a group.
        """
        shrunk = without(self._model, self._groups, dropped, self._example, self._align)
        dense = copy.deepcopy(self._model)
        reconstruct(dense, shrunk.model, self._groups, shrunk.gone, self._fitted_on, Fit(rows=ROWS))
        given = _outputs(shrunk.model, self._compared_on)
        return float(F.kl_div(given, self._wanted, reduction="batchmean", log_target=True))


def samples_for(network: Network) -> int:
    """How many samples trials take: one third to fit layers by, the others to compare by."""
    compared = WORK / count_macs(network.model, network.example_input())
    return int(1.5 * min(MOST, max(FEWEST, compared)))


def settle(splitting: Splitting, network: Network, data: DataSet, trials: int, seed: int) -> None:
    """Before the training of ``network``, choose the channels that stay, as far as that can be done."""
    normalization = network.metadata.normalization
    if splitting.needs_calibration:
        splitting.calibrate(sample_losses(network.model, data.train, normalization, seed=seed))
    if not trials or not splitting.groups:
        return
    if splitting.observes:
        splitting.calibrate(batch_losses(network.model, data.train, normalization, seed=seed))
    images = varied(network, drawn_samples(data, samples_for(network), seed), data.augmentation, seed)
    splitting.settle(Trials(network, splitting.groups, images, splitting.config.align).loss, trials)


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
    network: Network, data: DataSet, penalties: SplittingConfig, groups: Sequence[ChannelGroup], aims: Aims, seed: int
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


def drawn_samples(data: DataSet, count: int, seed: int) -> Samples:
    """So many of the training part, or all of it, with labels that nobody may look at."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    return data.train.take(order[:count])


def varied(network: Network, drawn: Samples, augmentation: Augmentation, seed: int) -> Tensor:
    """The images as the network got them in training, varied: plain ones have other statistics."""
    found = batches(
        drawn,
        batch_size=len(drawn),
        normalization=network.metadata.normalization,
        device=next(network.model.parameters()).device,
        shuffle=torch.Generator().manual_seed(seed),
        augmentation=augmentation,
    )
    return next(found)[0]


@torch.no_grad()
def _outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Logarithms of the probabilities of classes (samples, classes)."""
    with eval_mode(model):
        return torch.cat([model(part).float().log_softmax(1) for part in images.split(BATCH)])  # type: ignore[no-untyped-call]


def tried(found: Spread | None) -> Tried | None:
    """The record of a search; None of none, and where no network had numbers as outputs."""
    if found is None or not math.isfinite(found.loss):
        return None
    first = found.first if math.isfinite(found.first) else None
    return Tried(networks=found.tried, first=first, best=found.loss)
