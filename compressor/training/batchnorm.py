"""Re-estimate BatchNorm statistics: projection changes what reaches every layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from compressor.data.feeds import Data, feed_of
from compressor.data.normalization import Normalization
from compressor.equivalence import eval_mode
from compressor.inputs import Inputs, call
from compressor.layer_kinds import NORMS
from compressor.ranks import Ranks
from compressor.wrappers import process_group, unwrapped

# Enough samples for stable means and variances, few enough to take no time.
SAMPLES = 2048
BATCH = 128


Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm
Seen = tuple[Tensor, Tensor, Tensor]
"""How many batches a norm has seen, and their average mean and variance."""


@torch.no_grad()
def reestimate(model: nn.Module, inputs: Iterable[Inputs]) -> int:
    """Replace BatchNorm's running statistics by plain averages over ``inputs``; returns how many layers were touched.

    Each of the ``inputs`` is what one call of the network gets, as in `Examples`: of a tensor, a batch. A network that
    is wrapped for DDP gets the averages over the batches of all ranks, each of which brings its own.
    """
    if process_group(model) is None:
        return _estimated(_norms(model), model, inputs)
    return reestimate_together(unwrapped(model)[0], inputs, Ranks(model))


@torch.no_grad()
def reestimate_together(model: nn.Module, inputs: Iterable[Inputs], ranks: Ranks) -> int:
    """`reestimate` over the batches of all ``ranks``; ``model`` is the network inside of any wrapper."""
    norms = _norms(model)
    touched = _estimated(norms, model, inputs)
    own = [_seen(norm) for norm in norms[:touched]]
    every = [seen for seen in ranks.of_each(own) if seen]
    if not every:
        return 0
    for norm, *seen in zip(norms, *every, strict=True):
        _average(norm, seen)
    return len(norms)


def _norms(model: nn.Module) -> list[Norm]:
    return [m for m in model.modules() if isinstance(m, NORMS) and m.track_running_stats]


def _estimated(norms: Sequence[Norm], model: nn.Module, inputs: Iterable[Inputs]) -> int:
    batch = next(iter(inputs := iter(inputs)), None) if norms else None
    if batch is None:
        return 0
    momenta = [norm.momentum for norm in norms]
    # Everything but the norms is in eval mode: dropout would change the statistics.
    with eval_mode(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over all batches
            norm.train()
        try:
            for part in chain([batch], inputs):
                call(model, part)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    return len(norms)


def _seen(norm: Norm) -> Seen:
    batches, mean, variance = norm.num_batches_tracked, norm.running_mean, norm.running_var
    assert isinstance(batches, Tensor)  # it tracks them
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    return batches, mean, variance


def _average(norm: Norm, every: Sequence[Seen]) -> None:
    total, mean, variance = _seen(norm)
    counts = torch.stack([batches.to(mean) for batches, _, _ in every])
    total.fill_(int(counts.sum()))
    for own, place in ((mean, 1), (variance, 2)):
        own.copy_(counts @ torch.stack([seen[place].to(own) for seen in every]) / total)


def reestimate_on(
    model: nn.Module, data: Data, normalization: Normalization | None, seed: int, *, most: int = SAMPLES
) -> int:
    """`reestimate` on at most so many samples of the training part, drawn by ``seed``, on the device of ``model``.

    They are varied as in training.
    """
    feed = feed_of(data, normalization)
    drawn = feed.varied(most=most, batch_size=BATCH, seed=seed, device=next(model.parameters()).device)
    return reestimate(model, (feed.task.inputs(batch) for batch in drawn))
