"""Files are written whole or not at all: temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from compressor.errors import CheckpointError, CompressorError, UsageError
from compressor.locks import abandoned, check_held, claim
from compressor.regular_files import open_regular

SCRATCH = ".compressor-scratch-"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and takes its place.

    On any error the temporary file is removed and ``path`` is as it was.
    An operating-system error (disk full, no permission) becomes a `CompressorError` of one line.
    """
    path = Path(path)
    handle, temporary = None, None
    try:
        check_held()
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, of=path.name)
        handle, temporary = _claimed(path)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        check_held()
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        check_held()  # a folder that vanished is why
        raise CompressorError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a temporary folder that is gone afterwards; those that killed processes left are removed first."""
    for leftover in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        if abandoned(leftover):
            remove_folder(leftover)
    handle, folder = _claimed_folder()
    try:
        yield folder
    finally:
        remove_folder(folder)
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, content.encode())


def gzipped_bytes(path: Path) -> int:
    """What is left of ``path`` after ``gzip -6``."""
    gzip_container = 31
    packer = zlib.compressobj(6, wbits=gzip_container)
    return sum(len(packer.compress(chunk)) for chunk in chunks(path)) + len(packer.flush())


def sha256(path: Path) -> str:
    """SHA-256 of the content of ``path``, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def chunks(path: Path) -> Iterator[bytes]:
    """The content of ``path``, a megabyte at a time; `CheckpointError` when it cannot be read."""
    with open_regular(path, kind=CheckpointError) as file:
        try:
            while chunk := file.read(1 << 20):
                yield chunk
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise `UsageError` when ``path`` exists and may not be replaced; call it before any work."""
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists; choose another --out, or pass --overwrite to replace it")


def remove_folder(path: Path) -> None:
    """Delete the folder at ``path`` with all that can be deleted in it; whatever else is there, a link or FIFO, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # of a FIFO it would wait for ever
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *, of: str | None = None) -> None:
    """Delete the temporary files that killed processes left in ``folder``: all, or those ``of`` one file."""
    for leftover in folder.glob(f".{'*' if of is None else glob.escape(of)}.*.part"):
        if abandoned(leftover):
            leftover.unlink(missing_ok=True)


def _claimed(path: Path) -> tuple[int, Path]:
    """A new temporary file beside ``path``, which nobody takes for a leftover while it is open."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=".part")
        if claim(handle, Path(name)):
            return handle, Path(name)
        os.close(handle)


def _claimed_folder() -> tuple[int, Path]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-"))
        with contextlib.suppress(FileNotFoundError):
            handle = os.open(folder, os.O_RDONLY)
            if claim(handle, folder):
                return handle, folder
            os.close(handle)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut; not every platform can sync a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
