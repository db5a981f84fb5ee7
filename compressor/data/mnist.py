"""MNIST from its four idx files (LeCun, Cortes, Burges: the MNIST database of handwritten digits)."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from torch import Tensor

from compressor.data.normalization import Normalization
from compressor.data.reader import RESIZE, Parts, Shape, resize_grey
from compressor.data.samples import Augmentation, Samples
from compressor.errors import DataError
from compressor.foreign import parsing
from compressor.limits import check_memory
from compressor.regular_files import open_regular

SIDE = 28
# Bytes that a value takes while it is read and shared out: a label becomes eight.
COPIES = {3: 3, 1: 20}
FOLDERS = (".", "MNIST/raw", "raw")


class Mnist:
    """60,000 grey handwritten digits of 28x28 pixels and 10,000 to test, from the idx files in a folder."""

    form = "mnist:DIR"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Read the idx files, gzipped or not, in ``place`` itself or where torchvision puts them."""
        folder = Path(place).expanduser()
        return Parts(
            train=_samples(folder, "train", shape),
            test=_samples(folder, "t10k", shape),
            classes=tuple("0123456789"),
            normalization=Normalization.none(),
            augmentation=Augmentation(shift=2),
            resize=RESIZE,
        )


def _samples(folder: Path, part: str, shape: Shape | None) -> Samples:
    images_file = _find(folder, f"{part}-images", "idx3-ubyte")
    labels_file = _find(folder, f"{part}-labels", "idx1-ubyte")
    images, labels = _read_idx(images_file, 3), _read_idx(labels_file, 1).long()
    if images.shape[1:] != (SIDE, SIDE):
        height, width = images.shape[1:]
        raise DataError(f"{images_file} holds images of {height}x{width}, expected {SIDE}x{SIDE}")
    if len(images) != len(labels):
        raise DataError(f"{images_file} holds {len(images)} images, {labels_file} {len(labels)} labels")
    if not len(labels):
        raise DataError(f"{images_file} holds no images")
    if labels.max() > 9:
        raise DataError(f"{labels_file} holds the label {labels.max()}, expected 0 to 9")
    return Samples(resize_grey(images[:, None], shape, str(images_file)), labels)


def _find(folder: Path, name: str, kind: str) -> Path:
    for place in FOLDERS:
        for dot in "-.":
            for suffix in ("", ".gz"):
                file = folder / place / f"{name}{dot}{kind}{suffix}"
                if file.is_file():
                    return file
    raise DataError(f"no {name}-{kind} or {name}-{kind}.gz in {folder}, nor in its MNIST/raw or raw")


def _read_idx(file: Path, dimensions: int) -> Tensor:
    """Read unsigned bytes: two zeros, type 8, the number of dimensions, each as 32 bits, the values."""
    with parsing(file, DataError), open_regular(file, kind=DataError) as opened:
        # GzipFile has everything that BinaryIO asks for, under another name.
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=opened)) if file.suffix == ".gz" else opened
        magic = stream.read(4)
        if magic != bytes((0, 0, 8, dimensions)):
            raise DataError(f"{file} is not an idx file of bytes in {dimensions}D: it starts {magic.hex(' ')}")
        shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
        count = math.prod(shape)
        check_memory(count * COPIES[dimensions], f"{file}: {count} values, as its header promises,", kind=DataError)
        content = stream.read(count + 1)
    if len(content) != count:
        raise DataError(f"{file} does not hold the {count} values that its header promises")
    return torch.from_numpy(np.frombuffer(content, np.uint8).reshape(shape).copy())
