"""Image files, decoded by several threads; large ones take turns, so that memory stays bounded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO
from threading import RLock

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compressor.data.encoded import Encoded
from compressor.data.reader import Shape
from compressor.errors import DataError
from compressor.foreign import parsing

# Others are sniffed by Pillow as well, and one of them runs a program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "WEBP")
MAX_FILE_BYTES = 2**28  # a file that claims more is no image, but would fill the memory
MAX_PIXELS = 89_478_485  # where Pillow starts to warn of decompression bombs
LARGE = 2**24  # bytes or pixels from which on images are decoded one at a time
MOST_THREADS = 16
SMALL = 96 * 96  # pixels up to which the threads would mostly wait for the interpreter's lock (measured)
CHUNK = 32  # images per task: handing over a task costs as much as decoding a small image
GREY = {"1", "L", "LA"}

_one_at_a_time = RLock()


def native_shape(files: Encoded, number: int) -> Shape:
    """Channels, height and width of one image."""
    with _quiet(), ExitStack() as turn:
        image = _load(files, number, turn)
        return 1 if image.mode in GREY else 3, image.height, image.width


def decode_all(files: Encoded, numbers: Sequence[int], shape: Shape) -> Tensor:
    """Decode to RGB or grey and resize bilinearly: (images, channels, height, width).

    Raises `DataError` naming the first image that cannot be read.
    """
    decoded = np.empty((len(numbers), *shape), np.uint8)

    def work(start: int) -> None:
        for index, number in enumerate(numbers[start : start + CHUNK], start):
            decoded[index] = _decode(files, number, shape)

    _, first_height, first_width = native_shape(files, numbers[0])
    small = first_width * first_height <= SMALL
    with _quiet(), ThreadPoolExecutor(1 if small else min(os.cpu_count() or 1, MOST_THREADS)) as pool:
        for _ in pool.map(work, range(0, len(numbers), CHUNK)):
            pass
    return torch.from_numpy(decoded)


def decode(files: Encoded, numbers: Sequence[int], shape: Shape) -> Tensor:
    """The same in this thread alone."""
    decoded = np.empty((len(numbers), *shape), np.uint8)
    with _quiet():
        for index, number in enumerate(numbers):
            decoded[index] = _decode(files, number, shape)
    return torch.from_numpy(decoded)


def _quiet() -> warnings.catch_warnings[None]:
    """Decoders warn of oddities in files; entered outside of the threads, which share the filters."""
    return warnings.catch_warnings(action="ignore")


def _decode(files: Encoded, number: int, shape: Shape) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    channels, height, width = shape
    with ExitStack() as turn:
        image = _load(files, number, turn).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _load(files: Encoded, number: int, turn: ExitStack) -> Image.Image:
    """The image in its own colours; a large one waits for its ``turn``."""
    where = files.where(number)
    with parsing(f"the image {where}", DataError):
        size = files.size(number)
        if size > LARGE:
            turn.enter_context(_one_at_a_time)
        if size > MAX_FILE_BYTES:
            raise DataError(f"the image {where} cannot be read: it has {size / 2**20:.0f} MiB, more than any image")
        try:
            image = Image.open(BytesIO(files.read(number)), formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise DataError(f"{where} is too large an image to decode: {error}") from error
        if (pixels := image.width * image.height) > MAX_PIXELS:
            raise DataError(f"{where} is too large an image to decode: it has {image.width}x{image.height} pixels")
        if pixels > LARGE:
            turn.enter_context(_one_at_a_time)
        image.load()
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{where} has more than 8 bits per channel, which is not supported")
    return image
