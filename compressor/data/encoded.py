"""Images as they lie in files, by number: cheap to keep, to send to other processes, and to read one at a time."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from struct import unpack
from typing import Any, Protocol
from zipfile import ZIP_DEFLATED

import numpy as np
from numpy.typing import NDArray

from compressor.data.zips import check_entry
from compressor.errors import DataError
from compressor.regular_files import open_regular, read_bytes

# Of the header in front of every file of a zip: its size, and where in it the lengths of what follows stand.
LOCAL_HEADER, LENGTHS = 30, slice(26, 30)


class Encoded(Protocol):
    """Files that hold an image each; OSError, ValueError or the like where one cannot be read."""

    def where(self, number: int) -> object:
        """What messages call it."""

    def size(self, number: int) -> int:
        """Its bytes, unpacked."""

    def read(self, number: int) -> bytes:
        """All of it."""

    def mark(self, number: int) -> bytes:
        """What is known of it without reading it, its name and size say; the same on every machine."""


class Names:
    """Many texts in one piece of memory: as objects, every process that looks at one would get copies of all."""

    def __init__(self, names: Iterable[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._text, self._ends = b"".join(encoded), np.cumsum([0, *map(len, encoded)])

    def encoded(self, number: int) -> bytes:
        """The bytes of one of them."""
        return self._text[self._ends[number] : self._ends[number + 1]]

    def __getitem__(self, number: int) -> str:
        return os.fsdecode(self.encoded(number))


@dataclass(frozen=True)
class LooseFiles:
    """Files of a folder, by their relative paths."""

    root: Path
    names: Names

    def where(self, number: int) -> Path:
        """Its path."""
        return self.root / self.names[number]

    def size(self, number: int) -> int:
        """As the file system says."""
        return self.where(number).stat().st_size

    def read(self, number: int) -> bytes:
        """Only regular files are."""
        return read_bytes(self.where(number), kind=DataError)

    def mark(self, number: int) -> bytes:
        """Path and size."""
        return b"%b %d\n" % (self.names.encoded(number), self.size(number))


@dataclass(frozen=True)
class ZippedFiles:
    """Files of a zip file: of each where its header begins, its size packed and unpacked, checksum and method."""

    path: Path
    names: Names
    entries: NDArray[np.int64]

    @classmethod
    def of(cls, path: Path, names: Iterable[str], infos: Iterable[Any]) -> ZippedFiles:
        """Those of ``infos``, entries of the directory; `DataError` for one that cannot be unpacked."""
        names, rows = list(names), []
        for name, info in zip(names, infos, strict=True):
            check_entry(info, path / name)
            rows.append((info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type))
        return cls(path, Names(names), np.array(rows, np.int64).reshape(-1, 5))

    def where(self, number: int) -> Path:
        """As if the zip file were a folder."""
        return self.path / self.names[number]

    def size(self, number: int) -> int:
        """As the directory says."""
        return int(self.entries[number, 2])

    def read(self, number: int) -> bytes:
        """With a file of its own, so that threads and processes do not share a position."""
        begin, packed, size, checksum, method = map(int, self.entries[number])
        with open_regular(self.path, kind=DataError) as file:
            file.seek(begin)
            header = file.read(LOCAL_HEADER)
            if len(header) < LOCAL_HEADER or header[:4] != b"PK\3\4":
                raise ValueError("its place in the zip file holds something else")
            file.seek(sum(unpack("<2H", header[LENGTHS])), os.SEEK_CUR)
            content = file.read(packed)
        if method == ZIP_DEFLATED:
            # No more than the directory says, which was checked.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1)
        if len(content) != size or zlib.crc32(content) != checksum:
            raise ValueError("it is not what the directory of the zip file says")
        return content

    def mark(self, number: int) -> bytes:
        """Path, size and checksum."""
        return b"%b %d %d\n" % (self.names.encoded(number), self.size(number), self.entries[number, 3])
