"""Re-estimate BatchNorm statistics: projection changes what reaches every layer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import nn

from compressor.data.feeds import Data, feed_of
from compressor.data.normalization import Normalization
from compressor.equivalence import eval_mode
from compressor.inputs import Inputs, call
from compressor.layer_kinds import NORMS

# Enough samples for stable means and variances, few enough to take no time.
SAMPLES = 2048
BATCH = 128


@torch.no_grad()
def reestimate(model: nn.Module, inputs: Iterable[Inputs]) -> int:
    """Replace running statistics by plain averages over ``inputs``; returns how many layers were touched."""
    norms = [m for m in model.modules() if isinstance(m, NORMS) and m.track_running_stats]
    batch = next(iter(inputs := iter(inputs)), None)
    if not norms or batch is None:
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


def reestimate_on(
    model: nn.Module, data: Data, normalization: Normalization | None, seed: int, *, most: int = SAMPLES
) -> int:
    """`reestimate` on at most so many samples of the training part, drawn by ``seed``, on the device of ``model``.

    They are varied as in training.
    """
    feed = feed_of(data, normalization)
    drawn = feed.varied(most=most, batch_size=BATCH, seed=seed, device=next(model.parameters()).device)
    return reestimate(model, (feed.task.inputs(batch) for batch in drawn))
