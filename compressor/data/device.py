"""Batches on the device that computes: small sets live there, of others the next is copied while this one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor

from compressor.data.samples import DataSet, Samples
from compressor.structures import mapped, tensors

D = TypeVar("D")

# A training part may take one in so many of the bytes that are free on a GPU: the network needs them more.
SHARE = 4


def resident(data: D, device: torch.device) -> D:
    """``data`` with its training part on ``device``, where that is a GPU with room; else as it is."""
    if not isinstance(data, DataSet) or device.type != "cuda" or not isinstance(data.train.images, Tensor):
        return data
    images, labels = data.train.images, data.train.labels
    free, _ = torch.cuda.mem_get_info(device)
    if (images.nbytes + labels.nbytes) * SHARE > free:
        return data
    return replace(data, train=Samples(images.to(device), labels.to(device)))


def ahead(batches: Iterable[Any], device: torch.device | str) -> Iterator[Any]:
    """``batches``, of any structure of tensors, on ``device``.

    To a GPU each is copied from pinned memory, in a stream of its own, while the batch before it is computed with.
    """
    device = torch.device(device)
    if device.type != "cuda":
        yield from (mapped(batch, lambda tensor: tensor.to(device)) for batch in batches)
        return
    copies, given, end = torch.cuda.Stream(device), iter(batches), object()  # type: ignore[no-untyped-call]

    def next_one() -> Any:
        batch = next(given, end)
        with torch.cuda.stream(copies):
            return mapped(batch, lambda tensor: _pinned(tensor).to(device, non_blocking=True))

    coming = next_one()
    while coming is not end:
        current, batch = torch.cuda.current_stream(device), coming
        current.wait_stream(copies)
        # The copies' stream must not reuse the memory before this one has read it.
        for _, tensor in tensors(batch):
            tensor.record_stream(current)
        coming = next_one()
        yield batch


def drawing_on(device: torch.device | str, shuffle: Generator) -> Generator:
    """What draws on ``device``: ``shuffle`` itself where it lies there, else one that begins with a number it draws.

    So a GPU draws without waiting for the CPU, and the state of ``shuffle`` alone says how an epoch will be.
    """
    device = torch.device(device)
    if device.type == shuffle.device.type:
        return shuffle
    begin = torch.randint(2**62, (), generator=shuffle, device=shuffle.device)
    return Generator(device).manual_seed(int(begin))


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor
