"""Files that a user or a document names, read whole: regular ones only, and no larger than the memory allowed."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from compressor.errors import CompressorError
from compressor.limits import check_memory

# Should it become a FIFO in between, opening it does not wait for a writer.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def open_regular(
    path: Path, *, kind: type[CompressorError] = CompressorError, what: str | None = None
) -> BufferedReader:
    """Open ``path``, links followed; ``kind`` for a FIFO or device, which would keep the reader waiting for ever.

    Errors call it ``what``, else by its path.
    """
    what = what or str(path)
    try:
        # Asked before it is opened, because opening some devices does something.
        descriptor = os.open(path, FLAGS) if stat.S_ISREG(Path(path).stat().st_mode) else None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise kind(f"{what} cannot be read: {reason or error}") from error
    if descriptor is None:
        raise kind(f"{what} cannot be read: it is no regular file but a folder, FIFO, socket or device")
    return os.fdopen(descriptor, "rb")


def read_bytes(
    path: Path, *, kind: type[CompressorError] = CompressorError, expansion: int = 1, what: str | None = None
) -> bytes:
    """The whole of a regular file, each byte of which may cost ``expansion`` bytes of memory once it is parsed."""
    with open_regular(path, kind=kind, what=what) as file:
        check_memory(os.fstat(file.fileno()).st_size * expansion, what or str(path), kind=kind)
        try:
            return file.read()
        except OSError as error:
            raise kind(f"{what or path} cannot be read: {error.strerror or error}") from error
