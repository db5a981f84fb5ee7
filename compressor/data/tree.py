"""The files below a folder, or inside a zip file, by their relative paths."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol
from zipfile import BadZipFile, ZipFile

from compressor.errors import DataError

MAX_FILE_BYTES = 2**28  # a packed file that claims more is no image, but would fill the memory

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
