"""The losses of samples, from whose gradients a saliency can learn before the training."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.data.batches import batches
from compressor.data.normalization import Normalization
from compressor.data.samples import Samples

# More change the choice of channels little.
SAMPLES, BATCHES, BATCH = 512, 24, 128


def sample_losses(
    model: nn.Module, samples: Samples, normalization: Normalization | None, *, seed: int, most: int = SAMPLES
) -> Iterator[Tensor]:
    """Cross-entropies of at most so many ``samples``, drawn with ``seed``, each with its graph, in evaluation mode."""
    return _losses(model, samples, normalization, seed, batch_size=1, most=most)


def batch_losses(
    model: nn.Module, samples: Samples, normalization: Normalization | None, *, seed: int
) -> Iterator[Tensor]:
    """Those of some batches of ``samples``."""
    return _losses(model, samples, normalization, seed, batch_size=min(BATCH, len(samples)), most=BATCHES)


@torch.enable_grad()
def _losses(
    model: nn.Module, samples: Samples, normalization: Normalization | None, seed: int, *, batch_size: int, most: int
) -> Iterator[Tensor]:
    device, drawn = next(model.parameters()).device, torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    found = batches(samples, batch_size=batch_size, normalization=normalization, device=device, shuffle=drawn)
    for images, labels in islice(found, most):
        yield F.cross_entropy(model(images), labels)
    model.train(was_training)
