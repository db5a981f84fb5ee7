"""Re-estimate BatchNorm statistics: projection changes what reaches every layer."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor, nn

from compressor.data.batches import batches
from compressor.data.normalization import Normalization
from compressor.data.samples import DataSet
from compressor.equivalence import eval_mode
from compressor.layer_kinds import NORMS

# Enough samples for stable means and variances, few enough to take no time.
SAMPLES = 2048
BATCH = 128


@torch.no_grad()
def reestimate(model: nn.Module, inputs: Iterable[Tensor]) -> int:
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
                model(part)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    return len(norms)


def reestimate_on(
    model: nn.Module, data: DataSet, normalization: Normalization | None, seed: int, *, most: int = SAMPLES
) -> int:
    """`reestimate` on at most so many samples of the training part, drawn by ``seed``, on the device of ``model``.

    They are augmented as in training: plain ones have other statistics, which cost a CIFAR network 5 points.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = data.train.take(torch.randperm(len(data.train), generator=generator)[:most])
    # Without the short last batch: each counts the same, and BatchNorm refuses a single value.
    drawn = batches(
        samples,
        batch_size=min(BATCH, len(samples)),
        normalization=normalization,
        device=next(model.parameters()).device,
        shuffle=generator,
        augmentation=data.augmentation,
        drop_last=True,
    )
    return reestimate(model, (images for images, _ in drawn))
