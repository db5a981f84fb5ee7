"""Samples for a network: whether they fit it, before any work, and those on which outputs are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from compressor.checkpoints import Network
from compressor.checkpoints.network import other_precision
from compressor.data.batches import normalized
from compressor.data.samples import DataSet
from compressor.errors import DataError, UsageError

REAL_SAMPLES = 16


def check_fit(network: Network, data: DataSet) -> None:
    """Raise `DataError` when images or classes of ``data`` do not fit the network."""
    wanted, given = tuple(network.metadata.input_shape), data.input_shape
    if wanted != given:
        raise DataError(f"the network wants images of {_x(wanted)}, {data.ref} holds {_x(given)}")
    outputs = network.try_input()
    if (kind := other_precision(network.model)) is not None:
        name = str(kind).removeprefix("torch.")
        raise UsageError(f"the network computes in {name}; convert it to float32 with .float() in its factory")
    if any(not isinstance(example, Tensor) for example in network.metadata.examples):
        raise DataError("the network takes more than one tensor, and data sets hold images")
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise DataError("the network does not return class scores (images x classes), which training needs")
    if outputs.shape[1] < len(data.classes):
        raise DataError(f"the network tells {outputs.shape[1]} classes apart, {data.ref} has {len(data.classes)}")
    names = network.metadata.classes or ()
    if outputs.shape[1] < len(names):
        raise DataError(f"the network tells {outputs.shape[1]} classes apart, {len(names)} class names were given")


def real_inputs(network: Network, data: DataSet | None) -> Tensor | None:
    """Samples of the test part as the network gets them, (16, *input_shape) or fewer; None without data.

    They are drawn evenly over the whole part: where it is sorted by class, the first ones would be of one class.
    """
    if data is None:
        return None
    count = min(REAL_SAMPLES, len(data.test))
    places = torch.arange(count) * len(data.test) // count
    return normalized(data.test.images[places], network.metadata.normalization)


def _x(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)
