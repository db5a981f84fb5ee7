"""Zip files of unknown origin: no directory of any size, no bomb, and nothing that cannot be unpacked here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from compressor.errors import DataError
from compressor.foreign import parsing
from compressor.limits import check_memory
from compressor.regular_files import open_regular

METHODS = {ZIP_STORED, ZIP_DEFLATED}
ENTRY_BYTES = 46  # of an entry in the directory, at least
ENTRY_MEMORY = 2048  # what an entry takes once it is read: its description, its name and its place in a tree
ENCRYPTED = 1


class _Bytes(BufferedReader):
    """The bytes of a zip file, whose directory is read in one piece: it is checked before."""

    path: Path

    def read(self, size: int | None = -1) -> bytes:
        entries = max(size or 0, 0) // ENTRY_BYTES
        check_memory(entries * ENTRY_MEMORY, f"{self.path}: a directory of {entries} files", kind=DataError)
        return super().read(size)


@contextmanager
def open_zip(path: Path, otherwise: str) -> Iterator[ZipFile]:
    """Open a zip file; where ``path`` is none, a `DataError` says ``otherwise``, what it is not."""
    with _Bytes(open_regular(path, kind=DataError).detach()) as file:
        file.path = path
        with parsing(f"{path} is {otherwise}; it", DataError):
            archive = ZipFile(file)
        with archive:
            yield archive


def check_entry(info: ZipInfo, where: object) -> None:
    """Raise `DataError` when an entry cannot be unpacked: it is encrypted, or packed in an unusual way."""
    if info.flag_bits & ENCRYPTED:
        raise DataError(f"{where} is encrypted; unpack it with its password first")
    if info.compress_type not in METHODS:
        raise DataError(f"{where} is packed by method {info.compress_type}; only stored and deflated files are read")
