"""Samples for a network: whether they fit it, before any work, and those on which outputs are compared."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.checkpoints import Network
from compressor.checkpoints.network import other_precision
from compressor.data.batches import batches, normalized
from compressor.data.feeds import Data, feed_of
from compressor.data.loaders import Loaders
from compressor.data.samples import DataSet, Samples
from compressor.equivalence import eval_mode
from compressor.errors import DataError, UsageError
from compressor.inputs import call, each
from compressor.reconstruction import Given
from compressor.tasks.classification import Classification
from compressor.training.evaluation import named
from compressor.training.objective import loss_of
from compressor.user_code import foreign

REAL_SAMPLES = 16


def check_fit(network: Network, data: Data) -> None:
    """Raise `DataError` or `UsageError` when ``data`` do not fit the network."""
    if isinstance(data, DataSet):
        _require_shape(network, data)
    outputs = network.try_input()
    if (kind := other_precision(network.model)) is not None:
        name = str(kind).removeprefix("torch.")
        raise UsageError(f"the network computes in {name}; convert it to float32 with .float() in its factory")
    if isinstance(data, Loaders):
        _require_runs(network, data)
    else:
        _require_images(network)
        if isinstance(data.task, Classification):
            _require_classes(network, data, outputs)


def rehearse(network: Network, data: Data) -> None:
    """Raise `UsageError` when the loss of a user's task cannot be trained: on a copy, on one batch."""
    if isinstance(data, DataSet) and isinstance(data.task, Classification):
        return
    model, feed = copy.deepcopy(network.model).train(), feed_of(data, network.metadata.normalization)
    device = next(model.parameters()).device
    batch = next(iter(feed.plain(batch_size=2, seed=0, device=device)))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.autograd.backward(loss_of(feed.task, model, batch))


def _require_shape(network: Network, data: DataSet) -> None:
    wanted, given = tuple(network.metadata.input_shape), data.input_shape
    if wanted != given:
        raise DataError(f"the network wants images of {_x(wanted)}, {data.ref} holds {_x(given)}")


def _require_images(network: Network) -> None:
    if any(not isinstance(example, Tensor) for example in network.metadata.examples):
        raise DataError("the network takes more than one tensor, and data sets hold images")


def _require_classes(network: Network, data: DataSet, outputs: Any) -> None:
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise DataError("the network does not return class scores (images x classes), which training needs")
    if outputs.shape[1] < len(data.classes):
        raise DataError(f"the network tells {outputs.shape[1]} classes apart, {data.ref} has {len(data.classes)}")
    names = network.metadata.classes or ()
    if outputs.shape[1] < len(names):
        raise DataError(f"the network tells {outputs.shape[1]} classes apart, {len(names)} class names were given")


def _require_runs(network: Network, data: Loaders) -> None:
    """On what the task takes of a batch."""
    device = next(network.model.parameters()).device
    with foreign(f"{named(data.task)} cannot read a batch of {data.ref}"):
        inputs = data.task.inputs(data.first["test"])
    with torch.no_grad(), eval_mode(network.model), foreign(f"the network does not run on a batch of {data.ref}"):
        call(network.model, each(inputs, lambda tensor: tensor.to(device)))


def real_inputs(network: Network, data: Data | None) -> Any:
    """Samples of the test part as the network gets them, 16 or fewer; None without data.

    Of images, (16, *input_shape), they are drawn evenly over the whole part: where it is sorted by class, the first
    ones would be of one class. Of a user's batches they are the first of the first one.
    """
    if data is None:
        return None
    if isinstance(data, Loaders):
        inputs = data.task.inputs(data.first["test"])
        return Given(inputs).cut(REAL_SAMPLES)[0].split(REAL_SAMPLES)[0]
    count = min(REAL_SAMPLES, len(data.test))
    places = torch.arange(count) * len(data.test) // count
    return normalized(next(data.test.read([places]))[0], network.metadata.normalization)


def drawn_samples(data: DataSet, count: int, seed: int) -> Samples:
    """So many of the training part, or all of it, with labels that nobody may look at."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    return data.train.take(order[:count])


def varied_batches(network: Network, data: Data, count: int, seed: int) -> Given:
    """Batches of about so many samples of the training part as the network got them in training, varied.

    Plain ones have other statistics.
    """
    feed, device = feed_of(data, network.metadata.normalization), next(network.model.parameters()).device
    if isinstance(data, Loaders):
        return Given(*feed.varied(most=count, batch_size=count, seed=seed, device=device))
    drawn = drawn_samples(data, count, seed)
    one = batches(
        drawn,
        batch_size=len(drawn),
        normalization=network.metadata.normalization,
        device=device,
        shuffle=torch.Generator().manual_seed(seed),
        augmentation=data.augmentation,
    )
    return Given(next(one))


def _x(shape: Sequence[int]) -> str:
    return "x".join(str(size) for size in shape)
