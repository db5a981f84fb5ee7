"""Real samples on which outputs are compared, beside the random ones."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.checkpoints import Network
from compressor.data.batches import normalized
from compressor.data.samples import DataSet

REAL_SAMPLES = 16


def real_inputs(network: Network, data: DataSet | None) -> Tensor | None:
    """Samples of the test part as the network gets them, (16, *input_shape) or fewer; None without data.

    They are drawn evenly over the whole part: where it is sorted by class, the first ones would be of one class.
    """
    if data is None:
        return None
    count = min(REAL_SAMPLES, len(data.test))
    places = torch.arange(count) * len(data.test) // count
    return normalized(data.test.images[places], network.metadata.normalization)
