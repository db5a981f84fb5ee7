"""The losses of single samples, from whose gradients a saliency can learn before the training."""

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
SAMPLES = 512


@torch.enable_grad()
def sample_losses(
    model: nn.Module, samples: Samples, normalization: Normalization | None, *, seed: int, most: int = SAMPLES
) -> Iterator[Tensor]:
    """Cross-entropies of at most so many ``samples``, drawn with ``seed``, each with its graph, in evaluation mode."""
    device, drawn = next(model.parameters()).device, torch.Generator().manual_seed(seed)
    was_training = model.training
    model.eval()
    found = batches(samples, batch_size=1, normalization=normalization, device=device, shuffle=drawn)
    for image, label in islice(found, most):
        yield F.cross_entropy(model(image), label)
    model.train(was_training)
