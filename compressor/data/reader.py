"""What a data set must offer: the form of its reference and a way to read it; and what several of them need for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.data.normalization import Normalization
from compressor.data.samples import Augmentation, Samples
from compressor.errors import DataError
from compressor.limits import allowed, check_memory

Shape = tuple[int, int, int]

RESIZE = "bilinear"  # of whole images, antialiased, as Pillow does it; their proportions are not kept
CHUNK = 4096  # images resized at once: the float copies stay small


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a reader found: where ``test`` or ``val`` is None, it is drawn from ``train`` later."""

    train: Samples
    classes: tuple[str, ...]
    augmentation: Augmentation
    val: Samples | None = None
    test: Samples | None = None
    normalization: Normalization | None = None
    resize: str | None = None
    """How images of other sizes are brought to the shape that is wanted, `RESIZE`; None where they are refused."""


class Reader(Protocol):
    """One kind of data set; the first line of its docstring is shown by ``compress list data``."""

    form: str
    """How a reference is written, such as ``mnist:DIR``; without a colon it takes no place."""

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Read the data at ``place`` as images of ``shape``, or of their native shape."""


def shape_text(shape: tuple[int, ...]) -> str:
    """``3x32x32`` for (3, 32, 32)."""
    return "x".join(map(str, shape))


def check_images(count: int, shape: Shape, place: str) -> None:
    """Raise `DataError` when ``count`` images of ``shape`` are more than may be in memory."""
    check_memory(_bytes(count, shape), f"{place} with {count} images of {shape_text(shape)}", kind=DataError)


def exceeds_memory(count: int, shape: Shape) -> bool:
    """Whether `check_images` would refuse so many images."""
    return _bytes(count, shape) > allowed()


def _bytes(count: int, shape: Shape) -> int:
    """They are there twice while they are shared out over the parts."""
    return 2 * count * math.prod(shape)


def resize_grey(images: Tensor, shape: Shape | None, place: str) -> Tensor:
    """Resize uint8 images (samples, 1, height, width) bilinearly and repeat them to 1 or 3 channels."""
    if shape is None:
        return images
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"{place} gives 1 or 3 channels, the network wants {channels}")
    check_images(len(images), shape, place)
    if images.shape[2:] != (height, width):
        starts = range(0, len(images), CHUNK)
        images = torch.cat([_resize(images[start : start + CHUNK], height, width) for start in starts])
    return images.repeat(1, channels, 1, 1) if channels > 1 else images


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    resized = F.interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)
