"""Arrays in a numpy file, for data that come from somewhere else."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.reader import MAX_BYTES, Parts, Shape, shape_text
from compressor.data.samples import Augmentation, Samples
from compressor.errors import DataError

Array = NDArray[Any]

# Which ending the names x and y have for which part, in the three kinds of file.
ENDINGS = (
    {"train": ""},
    {"train": "_train", "test": "_test"},
    {"train": "_train", "val": "_val", "test": "_test"},
)
FORMS = "x, y or x_train, y_train, x_test, y_test (x_val, y_val), and classes if wanted"


class Npz:
    """Images and labels from the arrays x and y (or x_train, y_train, x_test, y_test) of an npz file."""

    form = "npz:FILE"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Read the arrays; images must have exactly the shape that the network wants."""
        arrays = _load(Path(place).expanduser())
        classes = arrays.pop("classes", None)
        endings = _endings(place, set(arrays))
        images = {part: _images(place, arrays[f"x{end}"], shape) for part, end in endings.items()}
        labels = {part: _labels(place, f"y{end}", arrays[f"y{end}"]) for part, end in endings.items()}
        for part, end in endings.items():
            if len(images[part]) != len(labels[part]):
                raise DataError(
                    f"{place} holds {len(images[part])} images x{end}, but {len(labels[part])} labels y{end}"
                )
        if len(shapes := {shape_text(part.shape[1:]) for part in images.values()}) > 1:
            raise DataError(f"{place} holds images of different shapes: {', '.join(sorted(shapes))}")
        samples = {part: Samples(images[part], labels[part]) for part in endings}
        return Parts(
            train=samples["train"],
            val=samples.get("val"),
            test=samples.get("test"),
            classes=_classes(place, classes, torch.cat(list(labels.values()))),
            augmentation=Augmentation(),
        )


def _load(file: Path) -> dict[str, Array]:
    if not file.is_file():
        raise DataError(f"there is no file {file}")
    try:
        with np.load(file, allow_pickle=False) as stored:
            needed = sum(info.file_size for info in stored.zip.infolist())
            if needed > MAX_BYTES:
                raise DataError(f"{file} unpacks to {needed / 2**30:.1f} GiB, at most 8 GiB are allowed")
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, AttributeError, TypeError, BadZipFile, zlib.error) as error:
        raise DataError(f"{file} is not an npz file of plain arrays") from error
    # Members of a zip file that are no arrays come back as bytes.
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise DataError(f"{file} is not an npz file of plain arrays")
    return arrays


def _endings(place: str, names: set[str]) -> dict[str, str]:
    for endings in ENDINGS:
        if names == {f"{axis}{end}" for axis in "xy" for end in endings.values()}:
            return endings
    raise DataError(f"{place} holds the arrays {', '.join(sorted(names)) or 'none'}, expected {FORMS}")


def _images(place: str, x: Array, shape: Shape | None) -> Tensor:
    if x.ndim not in (3, 4) or not x.size:
        raise DataError(
            f"{place} holds images of shape {shape_text(x.shape)}, expected (images, height, width) with"
            " channels before or after height and width"
        )
    x = x[:, None] if x.ndim == 3 else x
    if _channels_last(x, shape):
        x = x.transpose(0, 3, 1, 2)
    if shape is not None and x.shape[1:] != shape:
        raise DataError(f"{place} holds images of {shape_text(x.shape[1:])}, the network wants {shape_text(shape)}")
    return torch.from_numpy(np.ascontiguousarray(_bytes(place, x)))


def _channels_last(x: Array, shape: Shape | None) -> bool:
    """The network's shape decides; without it or its help, the axis that is as short as 1 or 3."""
    _, first, second, third = x.shape
    if shape in ((first, second, third), (third, first, second)):
        return shape != (first, second, third)
    return third in (1, 3) and first not in (1, 3)


def _bytes(place: str, x: Array) -> Array:
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise DataError(f"{place} holds images of type {x.dtype}, expected uint8 or floats in [0, 1]")
    low, high = x.min(), x.max()
    if not (low >= 0 and high <= 1):  # so written that NaN is refused too
        raise DataError(f"{place} holds floats from {low:g} to {high:g}, expected [0, 1] or uint8")
    return (x * 255).round().astype(np.uint8)


def _labels(place: str, name: str, y: Array) -> Tensor:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{place}: labels {name} are {y.dtype} of shape {shape_text(y.shape)}, expected one integer per image"
        )
    if y.size and int(y.min()) < 0:
        raise DataError(f"{place}: labels {name} go down to {y.min()}, expected 0 or more")
    return torch.from_numpy(y.astype(np.int64))


def _classes(place: str, names: Array | None, labels: Tensor) -> tuple[str, ...]:
    highest = int(labels.max())
    if names is None:
        if len(np.unique(labels.numpy())) != highest + 1:
            raise DataError(
                f"{place} has no sample for some labels from 0 to {highest}; if that is right, add the array"
                " classes with all class names"
            )
        return tuple(str(label) for label in range(highest + 1))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{place}: classes are {names.dtype} of shape {shape_text(names.shape)}, expected names")
    if highest >= len(names):
        raise DataError(f"{place} holds the label {highest}, but only {len(names)} class names")
    return tuple(str(name) for name in names)
