"""Grey images of one size -> what the network wants."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compressor.data.reader import Shape, check_memory
from compressor.errors import DataError

CHUNK = 4096  # images resized at once: the float copies stay small


def resize_grey(images: Tensor, shape: Shape | None, place: str) -> Tensor:
    """Resize uint8 images (samples, 1, height, width) bilinearly and repeat them to 1 or 3 channels."""
    if shape is None:
        return images
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"{place} gives 1 or 3 channels, the network wants {channels}")
    check_memory(len(images), shape, place)
    if images.shape[2:] != (height, width):
        starts = range(0, len(images), CHUNK)
        images = torch.cat([_resize(images[start : start + CHUNK], height, width) for start in starts])
    return images.repeat(1, channels, 1, 1) if channels > 1 else images


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    resized = F.interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)
