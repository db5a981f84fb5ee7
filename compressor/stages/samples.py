"""Samples for a network: whether they fit it, before any work, and those on which outputs are compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from compressor.checkpoints import Network
from compressor.data.batches import normalized
from compressor.data.samples import DataSet
from compressor.errors import DataError, UsageError

REAL_SAMPLES = 16


def check_fit(network: Network, data: DataSet) -> None:
    """Raise `DataError` when images or classes of ``data`` do not fit the network.

    `UsageError` when the network has layers without sizes.
    """
    _refuse_lazy(network.model)
    wanted, given = tuple(network.metadata.input_shape), data.input_shape
    if wanted != given:
        raise DataError(f"the network wants images of {_x(wanted)}, {data.ref} holds {_x(given)}")
    outputs = network.try_input()
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


def _refuse_lazy(model: nn.Module) -> None:
    """A lazy layer becomes another kind of module when it first runs, which no checkpoint of the network could hold."""
    lazy = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if any(map(is_lazy, (*module.parameters(recurse=False), *module.buffers(recurse=False))))
    ]
    if lazy:
        raise UsageError(
            f"the network has layers whose sizes are not known before they run, {', '.join(lazy)}; "
            "use layers with sizes in its architecture, for example Linear(in, out)"
        )


def _x(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)
