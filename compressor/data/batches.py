"""Batches of normalised images, shuffled where they lie, and augmented on the device they are used on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from compressor.data.device import ahead, drawing_on
from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, Samples
from compressor.data.shares import WHOLE, Share
from compressor.data.variation import Variation
from compressor.errors import DataError, UsageError

# Images that are measured at once.
MEASURED = 256


def batches(
    samples: Samples,
    *,
    batch_size: int,
    normalization: Normalization | None,
    device: torch.device | str = "cpu",
    shuffle: Generator | None = None,
    augmentation: Variation | None = None,
    drop_last: bool = False,
    share: Share = WHOLE,
    done: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images, float32 (batch, channels, height, width), and labels, int64 (batch,), on ``device``.

    An augmentation that mixes samples makes of the labels shares of the classes, float32 (batch, classes).

    ``shuffle`` draws the order and the augmentation; without it the order is that of ``samples``. Of every batch only
    the part of ``share`` is made: crops and mirroring as in the whole one, any other augmentation for itself. The first
    ``done`` batches are left out.
    Raises ValueError for an augmentation without ``shuffle``, `UsageError` for a batch size that cannot be.
    """
    if augmentation is not None and shuffle is None:
        raise ValueError("augmentation draws from the shuffle generator, which is missing")
    if batch_size < 1:
        raise UsageError(f"batch size must be at least 1, got {batch_size}")
    if drop_last and batch_size > len(samples):
        raise UsageError(f"batch size {batch_size} is more than the {len(samples)} samples there are")

    def generate() -> Iterator[tuple[Tensor, Tensor]]:
        where, whole = samples.labels.device, Normalizer(normalization, device)
        order = torch.arange(len(samples), device=where) if shuffle is None else shuffled(len(samples), shuffle, where)
        end = len(order) // batch_size * batch_size if drop_last else len(order)
        starts, mine = range(0, end, batch_size), share.part(batch_size)
        own = ahead(samples.read(order[start : start + batch_size][mine] for start in starts[done:]), device)
        if augmentation is None or shuffle is None:
            yield from ((whole(images), labels) for images, labels in own)
        elif isinstance(augmentation, Augmentation):
            draw = drawing_on(device, shuffle)
            for _ in starts[:done]:
                augmentation.drawn(batch_size, draw)
            for images, labels in own:
                # Drawn for the whole batch, so that it is the same however many processes share it.
                size = len(images) * share.size
                yield whole(augmentation.drawn(size, draw).part(share.part(size)).of(images)), labels
        else:
            # Each part begins with a seed of its own, so that nothing need be drawn for those before it.
            begin = int(torch.randint(2**62, (), generator=shuffle))
            for number, (images, labels) in enumerate(own, start=done):
                draw = Generator().manual_seed(begin + number * share.size + share.rank)
                yield augmentation.mixed(whole(augmentation.apply(images, draw)), labels, draw)

    return generate()


class Normalizer:
    """Brings uint8 images (samples, channels, height, width) to float32 in [0, 1] on ``device`` and normalises them.

    What it subtracts and divides by is made once: on a GPU every constant is a copy that waits.
    """

    def __init__(self, normalization: Normalization | None, device: torch.device | str = "cpu") -> None:
        self._normalization, self._device = normalization, device
        self._constants = (
            [torch.tensor(values, device=device).view(-1, 1, 1) for values in (normalization.mean, normalization.std)]
            if normalization is not None
            else None
        )

    def __call__(self, images_uint8: Tensor) -> Tensor:
        """Raises `DataError` when the images have another number of channels than the normalisation."""
        images = images_uint8.to(self._device).to(torch.float32).div_(255)
        if self._normalization is None or self._constants is None:
            return images
        own, channels = self._normalization, images.shape[1]
        if own.channels not in (1, channels):
            raise DataError(f"normalization {own} is for {own.channels} channels, the images have {channels}")
        mean, std = self._constants
        return images.sub_(mean).div_(std)


def normalized(images_uint8: Tensor, normalization: Normalization | None, device: torch.device | str = "cpu") -> Tensor:
    """One batch through a `Normalizer`."""
    return Normalizer(normalization, device)(images_uint8)


def shuffled(samples: int, shuffle: Generator, device: torch.device | str = "cpu") -> Tensor:
    """The places of so many samples on ``device``, in an order that ``shuffle`` draws."""
    own = drawing_on(device, shuffle)
    return torch.randperm(samples, generator=own, device=own.device)
