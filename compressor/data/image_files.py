"""Image files below a folder or inside a zip file: found by their relative paths, decoded by several threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Protocol
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from compressor.data.reader import Shape
from compressor.errors import DataError

MAX_FILE_BYTES = 2**28  # a packed file that claims more is no image, but would fill the memory
MAX_PIXELS = 89_478_485  # where Pillow starts to warn of decompression bombs
SMALL = 96 * 96  # pixels up to which the threads would mostly wait for the interpreter's lock (measured)
CHUNK = 32  # images per task: handing over a task costs as much as decoding a small image
GREY = {"1", "L", "LA"}

Name = tuple[str, ...]


class Open(Protocol):
    """How one file is read whole; raises OSError or the like."""

    def __call__(self, name: Name) -> bytes:
        """Read the file called ``name``."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Files and folders, each as the parts of its relative path, sorted; hidden ones are left out."""

    path: Path
    files: list[Name]
    folders: list[Name]
    read: Open

    def children(self, root: Name) -> list[str]:
        """Names of the folders directly in ``root``."""
        return [folder[-1] for folder in self.folders if folder[:-1] == root]


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or a zip file; raises `DataError` when ``path`` is neither."""
    if path.is_dir():
        yield _folder(path)
    elif path.is_file():
        try:
            archive = ZipFile(path)
        except (BadZipFile, OSError) as error:
            raise DataError(f"{path} is neither a folder nor a zip file that can be read") from error
        with archive:
            yield _zip(path, archive)
    else:
        raise DataError(f"there is no folder or zip file {path}")


def _folder(path: Path) -> Tree:
    files: list[Name] = []
    folders: set[Name] = set()
    for place, _, names in os.walk(path, followlinks=True):
        here = Path(place).relative_to(path).parts
        folders.add(here)
        files += [(*here, name) for name in names]
    return _tree(path, files, folders, lambda name: path.joinpath(*name).read_bytes())


def _zip(path: Path, archive: ZipFile) -> Tree:
    entries = {PurePosixPath(info.filename).parts: info for info in archive.infolist()}
    files = [name for name, info in entries.items() if not info.is_dir()]
    folders = {name for name, info in entries.items() if info.is_dir()}
    folders |= {name[:depth] for name in entries for depth in range(1, len(name))}

    def read(name: Name) -> bytes:
        size = entries[name].file_size
        if size > MAX_FILE_BYTES:
            raise OSError(f"it unpacks to {size / 2**20:.0f} MiB, more than any image")
        return archive.read(entries[name])

    return _tree(path, files, folders, read)


def _tree(path: Path, files: list[Name], folders: set[Name], read: Open) -> Tree:
    return Tree(path=path, files=_visible(files), folders=_visible(folders - {()}), read=read)


def _visible(names: list[Name] | set[Name]) -> list[Name]:
    return sorted(name for name in names if not any(_hidden(part) for part in name))


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


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
