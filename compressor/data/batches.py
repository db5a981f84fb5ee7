"""Batches of normalised images, shuffled and augmented on the device they are used on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, Samples
from compressor.data.shares import WHOLE, Share
from compressor.errors import DataError, UsageError


def batches(
    samples: Samples,
    *,
    batch_size: int,
    normalization: Normalization | None,
    device: torch.device | str = "cpu",
    shuffle: Generator | None = None,
    augmentation: Augmentation | None = None,
    drop_last: bool = False,
    share: Share = WHOLE,
    done: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images, float32 (batch, channels, height, width), and labels, int64 (batch,), on ``device``.

    ``shuffle`` draws the order and the augmentation; without it the order is that of ``samples``. Of every batch only
    the part of ``share`` is made, as it would be in the whole one; the first ``done`` batches are left out.
    Raises ValueError for an augmentation without ``shuffle``, `UsageError` for a batch size that cannot be.
    """
    if augmentation is not None and shuffle is None:
        raise ValueError("augmentation draws from the shuffle generator, which is missing")
    if batch_size < 1:
        raise UsageError(f"batch size must be at least 1, got {batch_size}")
    if drop_last and batch_size > len(samples):
        raise UsageError(f"batch size {batch_size} is more than the {len(samples)} samples there are")

    def generate() -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(samples)) if shuffle is None else shuffled(len(samples), shuffle)
        order = order.to(samples.images.device)
        end = len(order) // batch_size * batch_size if drop_last else len(order)
        for start in range(0, end, batch_size):
            indices = order[start : start + batch_size]
            own = share.part(len(indices))
            # Drawn for the whole batch, also where none of it is made: what comes after it stays the same.
            view = augmentation.drawn(len(indices), shuffle) if augmentation is not None and shuffle is not None else None
            if start < done * batch_size:
                continue
            indices = indices[own]
            images = samples.images[indices].to(device)
            if view is not None:
                images = view.part(own).of(images)
            yield normalized(images, normalization, device), samples.labels[indices].to(device)

    return generate()


def normalized(images_uint8: Tensor, normalization: Normalization | None, device: torch.device | str = "cpu") -> Tensor:
    """Bring uint8 images (samples, channels, height, width) to float32 in [0, 1], then normalise them.

    Raises `DataError` when the images have another number of channels than ``normalization``.
    """
    images = images_uint8.to(device).to(torch.float32).div_(255)
    if normalization is None:
        return images
    channels = images.shape[1]
    if normalization.channels not in (1, channels):
        raise DataError(
            f"normalization {normalization} is for {normalization.channels} channels, the images have {channels}"
        )
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
        for values in (normalization.mean, normalization.std)
    )
    return images.sub_(mean).div_(std)


def shuffled(samples: int, shuffle: Generator) -> Tensor:
    """The places of so many samples in an order that ``shuffle`` draws."""
    return torch.randperm(samples, generator=shuffle, device=shuffle.device)
