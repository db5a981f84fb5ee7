"""The losses of samples, from whose gradients a saliency can learn before the training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn

from compressor.data.feeds import Data, feed_of
from compressor.data.normalization import Normalization
from compressor.training.objective import loss_of

# More change the choice of channels little.
SAMPLES, BATCHES, BATCH = 512, 24, 128


def sample_losses(
    model: nn.Module, data: Data, normalization: Normalization | None, *, seed: int, most: int = SAMPLES
) -> Iterator[Tensor]:
    """Losses of at most so many samples of the training part, drawn with ``seed``, each with its graph.

    In evaluation mode. A user's batches, which nobody can take apart, count as one sample each.
    """
    return _losses(model, data, normalization, seed, batch_size=1, most=most)


def batch_losses(model: nn.Module, data: Data, normalization: Normalization | None, *, seed: int) -> Iterator[Tensor]:
    """Those of some batches of the training part."""
    return _losses(model, data, normalization, seed, batch_size=BATCH, most=BATCHES)


@torch.enable_grad()
def _losses(
    model: nn.Module, data: Data, normalization: Normalization | None, seed: int, *, batch_size: int, most: int
) -> Iterator[Tensor]:
    feed, device, was_training = feed_of(data, normalization), next(model.parameters()).device, model.training
    model.eval()
    for batch in islice(feed.plain(batch_size=batch_size, seed=seed, device=device), most):
        yield loss_of(feed.task, model, batch)
    model.train(was_training)
