"""Image files -> one uint8 tensor, decoded by several threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compressor.data.reader import Shape
from compressor.data.tree import Name, Tree
from compressor.errors import DataError

MAX_PIXELS = 89_478_485  # where Pillow starts to warn of decompression bombs
SMALL = 96 * 96  # pixels up to which the threads would mostly wait for the interpreter's lock (measured)
CHUNK = 32  # images per task: handing over a task costs as much as decoding a small image
GREY = {"1", "L", "LA"}


def native_shape(tree: Tree, name: Name) -> Shape:
    """Channels, height and width of one image."""
    image = _decode(tree, name)
    return 1 if image.mode in GREY else 3, image.height, image.width


def decode_all(tree: Tree, names: list[Name], shape: Shape) -> Tensor:
    """Decode to RGB or grey and resize bilinearly: (images, channels, height, width).

    Raises `DataError` naming the first image that cannot be read.
    """
    channels, height, width = shape
    mode = "L" if channels == 1 else "RGB"
    decoded = np.empty((len(names), channels, height, width), np.uint8)

    def work(start: int) -> None:
        for index, name in enumerate(names[start : start + CHUNK], start):
            image = _decode(tree, name).convert(mode)
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            decoded[index] = np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)

    first = _decode(tree, names[0])
    small = first.width * first.height <= SMALL
    with ThreadPoolExecutor(1 if small else os.cpu_count()) as pool:
        for _ in pool.map(work, range(0, len(names), CHUNK)):
            pass
    return torch.from_numpy(decoded)


def _decode(tree: Tree, name: Name) -> Image.Image:
    where = tree.path.joinpath(*name)
    try:
        image = Image.open(BytesIO(tree.read(name)))
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"it has {image.width}x{image.height} pixels")
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{where} is too large an image to decode: {error}") from error
    except Exception as error:  # a broken file can make a decoder fail in any way
        raise DataError(f"cannot read the image {where}: {error}") from error
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{where} has more than 8 bits per channel, which is not supported")
    return image
