"""Arrays in a numpy file, for data that come from somewhere else."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compressor.data.reader import Parts, Shape, shape_text
from compressor.data.samples import Augmentation, Samples
from compressor.data.zips import check_entry, open_zip
from compressor.errors import DataError
from compressor.foreign import parsing
from compressor.limits import check_memory

Array = NDArray[Any]

# Which ending the names x and y have for which part, in the three kinds of file.
ENDINGS = (
    {"train": ""},
    {"train": "_train", "test": "_test"},
    {"train": "_train", "val": "_val", "test": "_test"},
)
NO_NPZ = "not an npz file of plain arrays"
SHOWN = 40  # characters of a name that does not belong there
NAME_BYTES = 400  # what a class takes further on, with its name
CHUNK = 4096  # images converted at once: the float copies stay small
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
FORMS = "x, y or x_train, y_train, x_test, y_test (x_val, y_val), and classes if wanted"


class Npz:
    """Images and labels from the arrays x and y (or x_train, y_train, x_test, y_test) of an npz file."""

    form = "npz:FILE"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Read the arrays; images must have exactly the shape that the network wants."""
        arrays = read_arrays(Path(place).expanduser(), _check_names, _memory)
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


def read_arrays(
    file: Path,
    check: Callable[[str, set[str]], None] = lambda place, names: None,
    memory: Callable[[str, tuple[int, ...], np.dtype[Any]], int] = lambda name, shape, dtype: (
        math.prod(shape) * dtype.itemsize
    ),
) -> dict[str, Array]:
    """Every array of an npz file, once their headers together ask for no more memory than is allowed.

    ``check`` raises for names that do not belong there; ``memory`` is what an array takes once it is used. `DataError`
    for what is no npz file of plain arrays.
    """
    if not file.exists():
        raise DataError(f"there is no file {file}")
    with open_zip(file, NO_NPZ) as archive:
        entries = _entries(file, archive)
        check(str(file), set(entries))
        headers = {name: _header(file, archive, info) for name, info in entries.items()}
        needed = sum(memory(name, *header) for name, header in headers.items())
        check_memory(needed, f"{file} unpacked", held=file.stat().st_size, kind=DataError)
        return {name: _array(file, archive, info) for name, info in entries.items()}


def _entries(file: Path, archive: ZipFile) -> dict[str, ZipInfo]:
    """The arrays by their names, each once."""
    names = Counter(info.filename for info in archive.infolist())
    strange = next((name for name, count in names.items() if not name.endswith(".npy") or count > 1), None)
    if strange is not None:
        raise DataError(f"{file} is {NO_NPZ}: it holds {strange[:SHOWN]!r}, which is none, or there twice")
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _check_names(place: str, names: set[str]) -> None:
    _endings(place, names - {"classes"})


def _header(file: Path, archive: ZipFile, info: ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, of which nothing else is read; numpy's own parser evaluates what is written there."""
    where = f"{file}: the array {info.filename[:SHOWN]!r}"
    check_entry(info, where)
    with parsing(f"{file} is {NO_NPZ}; {info.filename[:SHOWN]!r}", DataError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 2's headers, and of what Python's own parser finds odd
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in READERS:
                raise ValueError(f"its format is {version}, known are {', '.join(map(str, READERS))}")
            shape, _, dtype = READERS[version](stream)
            start = stream.tell()
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, and {file} is {NO_NPZ}")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - start:
        raise DataError(f"{where} of {dtype} does not hold the {shape_text(shape)} entries that its header promises")
    return shape, dtype


def _memory(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Bytes that an array takes while it is read, converted and shared out over the parts."""
    each = NAME_BYTES if name == "classes" else 2 if name.startswith("x") else 24
    return math.prod(shape) * (dtype.itemsize + each)


def _array(file: Path, archive: ZipFile, info: ZipInfo) -> Array:
    with parsing(f"{file} is {NO_NPZ}; {info.filename!r}", DataError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with archive.open(info) as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _endings(place: str, names: set[str]) -> dict[str, str]:
    for endings in ENDINGS:
        if names == {f"{axis}{end}" for axis in "xy" for end in endings.values()}:
            return endings
    raise DataError(f"{place} holds the arrays {', '.join(sorted(names))[:200] or 'none'}, expected {FORMS}")


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
    pixels = np.empty(x.shape, np.uint8)
    for start in range(0, len(x), CHUNK):
        pixels[start : start + CHUNK] = (x[start : start + CHUNK] * 255).round()
    return pixels


def _labels(place: str, name: str, y: Array) -> Tensor:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(
            f"{place}: labels {name} are {y.dtype} of shape {shape_text(y.shape)}, expected one integer per image"
        )
    if y.size and int(y.min()) < 0:
        raise DataError(f"{place}: labels {name} go down to {y.min()}, expected 0 or more")
    if y.size and int(y.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{place}: labels {name} go up to {y.max()}, more than any class")
    return torch.from_numpy(y.astype(np.int64))


def _classes(place: str, names: Array | None, labels: Tensor) -> tuple[str, ...]:
    highest = int(labels.max())
    if names is None:
        if len(np.unique(labels.numpy())) != highest + 1:
            raise DataError(
                f"{place} has no sample for some labels from 0 to {highest}; if that is right, add the array"
                " classes with all class names"
            )
        check_memory(NAME_BYTES * (highest + 1), f"{place}: {highest + 1} classes", kind=DataError)
        return tuple(str(label) for label in range(highest + 1))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{place}: classes are {names.dtype} of shape {shape_text(names.shape)}, expected names")
    if highest >= len(names):
        raise DataError(f"{place} holds the label {highest}, but only {len(names)} class names")
    with parsing(f"{place}: the class names", DataError):  # numpy holds numbers that are no characters
        return tuple(str(name) for name in names)
