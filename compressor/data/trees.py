"""Folders and zip files alike: files found by their relative paths, read one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from compressor.data.encoded import Encoded, LooseFiles, Names, ZippedFiles
from compressor.data.zips import ENTRY_MEMORY, open_zip
from compressor.errors import DataError
from compressor.limits import check_memory

DEEPEST = 64  # folders inside each other
USUAL_RATIO = 100  # of what a zip file holds to its own size: images are packed already

Name = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Files and folders, each as the parts of its relative path, sorted; hidden ones are left out.

    ``encoded`` gives files of it, by number, which can be read when the tree is closed as well.
    """

    path: Path
    files: list[Name]
    folders: list[Name]
    encoded: Callable[[Sequence[Name]], Encoded]

    def children(self, root: Name) -> list[str]:
        """Names of the folders directly in ``root``."""
        return [folder[-1] for folder in self.folders if folder[:-1] == root]


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or a zip file; raises `DataError` when ``path`` is neither."""
    if path.is_dir():
        yield _folder(path)
    elif path.exists():
        with open_zip(path, "neither a folder nor a zip file that can be read") as archive:
            yield _zip(path, archive)
    else:
        raise DataError(f"there is no folder or zip file {path}")


def _folder(path: Path) -> Tree:
    files: list[Name] = []
    folders: set[Name] = set()
    waiting: list[tuple[Name, frozenset[object]]] = [((), frozenset())]
    while waiting:
        name, around = waiting.pop()
        here = _identity(path.joinpath(*name))
        if here in around:
            continue  # a link back to a folder around it, which has nothing new
        _check_depth(path, name)
        folders.add(name)
        inner, found = _entries(path.joinpath(*name))
        waiting += [((*name, folder), around | {here}) for folder in inner if not _hidden(folder)]
        files += [(*name, file) for file in found]
        count = len(files) + len(folders) + len(waiting)
        check_memory(count * ENTRY_MEMORY, f"{path}: a tree of {count} files", kind=DataError)
    return _tree(
        path,
        files,
        folders,
        lambda names: LooseFiles(path, Names("/".join(name) for name in names)),
    )


def _identity(folder: Path) -> object:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders in ``folder``, links to folders included, and of everything else."""
    try:
        with os.scandir(folder) as entries:
            kinds = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror or error}") from error
    return [name for name, is_folder in kinds if is_folder], [name for name, is_folder in kinds if not is_folder]


def _zip(path: Path, archive: ZipFile) -> Tree:
    # Nothing is unpacked onto the disk: a name that begins at the root, or says "." alone, is as harmless as it is odd.
    entries = {PurePosixPath(info.filename.lstrip("/")).parts: info for info in archive.infolist()}
    entries.pop((), None)
    for name in entries:
        _check_depth(path, name)
    files = [name for name, info in entries.items() if not info.is_dir()]
    folders = {name for name, info in entries.items() if info.is_dir()}
    folders |= {name[:depth] for name in entries for depth in range(1, len(name))}
    unpacked, packed = sum(info.file_size for info in entries.values()), path.stat().st_size
    check_memory(unpacked, f"{path} unpacked", held=USUAL_RATIO * packed, kind=DataError)

    def encoded(names: Sequence[Name]) -> Encoded:
        return ZippedFiles.of(path, ("/".join(name) for name in names), (entries[name] for name in names))

    return _tree(path, files, folders, encoded)


def _check_depth(path: Path, name: Name) -> None:
    if len(name) > DEEPEST:
        raise DataError(f"{path} has more than {DEEPEST} folders inside each other")


def _tree(path: Path, files: list[Name], folders: set[Name], encoded: Callable[[Sequence[Name]], Encoded]) -> Tree:
    return Tree(path=path, files=_visible(files), folders=_visible(folders - {()}), encoded=encoded)


def _visible(names: list[Name] | set[Name]) -> list[Name]:
    return sorted(name for name in names if not any(_hidden(part) for part in name))


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"
