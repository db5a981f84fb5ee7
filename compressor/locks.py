"""One writer a place: locks that the operating system drops with their process, however that ends.

They are advisory: they bind what this package writes, in this process and in others, and nobody else.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from compressor.errors import CompressorError, CompressorWarning, Occupied, UsageError

FOLDER_LOCK = ".lock"
SHOWN = 200  # characters of the holder's command
# How long a holder may take from its lock to its name in the file.
PATIENCE_S = 0.5
ATTEMPTS = 100


@dataclass(frozen=True)
class Lock:
    """A lock that is held: `hold` and `hold_folder` make it."""

    place: Path
    file: Path
    descriptor: int

    def check(self) -> None:
        """Raise `CompressorError` when the lock's file, or the folder around it, was removed or replaced."""
        if not _is(self.descriptor, self.file):
            raise CompressorError(
                f"{self.place} was removed or replaced while this command worked in it, so the command stopped; "
                "give it again to start again"
            )


_folders: ContextVar[tuple[Lock, ...]] = ContextVar("folders", default=())


def check_held() -> None:
    """`Lock.check` of every folder that is held here; called before anything is written."""
    for lock in _folders.get():
        lock.check()


@contextlib.contextmanager
def hold(path: Path) -> Iterator[Lock]:
    """Be the only one who writes the file ``path`` inside the block; its folder is made where there is none.

    `Occupied` names the process that holds it already. Nobody waits.
    """
    with _held(path, path.with_name(f".{path.name}.lock")) as lock:
        yield lock


@contextlib.contextmanager
def hold_folder(path: Path) -> Iterator[Lock]:
    """Be the only one who writes into the folder ``path`` inside the block; it is made, and removed if it stays empty.

    Inside the block of the same folder this is the same lock. Errors are those of `hold`; `UsageError` for a file.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} exists and is no folder; choose another --out")
    known = next((lock for lock in _folders.get() if lock.place.absolute() == path.absolute()), None)
    if known is not None:
        yield known
        return
    with _held(path, path / FOLDER_LOCK) as lock:
        token = _folders.set((*_folders.get(), lock))
        try:
            yield lock
        finally:
            _folders.reset(token)


def claim(descriptor: int, path: Path) -> bool:
    """Show that what was just made at ``path`` is in use while ``descriptor`` is open; False when it was tidied up."""
    try:
        locked = lock_descriptor(descriptor, blocking=False)
    except OSError:
        locked = True  # where nothing can be locked, nothing counts as abandoned
    return locked and _is(descriptor, path)


def abandoned(path: Path) -> bool:
    """Whether ``path``, once claimed, is in nobody's use any more, because its maker was killed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:
        return False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _held(place: Path, file: Path) -> Iterator[Lock]:
    made: list[Path] = []
    try:
        descriptor = _acquired(place, file, made)
        try:
            yield Lock(place, file, descriptor)
        finally:
            if _is(descriptor, file):
                file.unlink()
            else:
                made.clear()  # the folder is not the one that was made here
            os.close(descriptor)
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()  # which removes nothing but an empty one


def _acquired(place: Path, file: Path, made: list[Path]) -> int:
    """The open descriptor of the lock; the folders made for it are added to ``made``."""
    while True:
        descriptor = _opened(place, file, made)
        try:
            _lock(descriptor, place, file)
            # Whoever held it removes the file before the lock: then this is the lock of a file without a name.
            if _is(descriptor, file):
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(place: Path, file: Path, made: list[Path]) -> int:
    for attempt in range(ATTEMPTS):
        try:
            made += _make(file.parent)
            return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        except OSError as error:
            # Another holder may make the folder, or tidy it up, between the two.
            if not isinstance(error, FileNotFoundError | FileExistsError) or attempt == ATTEMPTS - 1:
                raise CompressorError(f"cannot write {place}: {error.strerror or error}") from error
    raise AssertionError("the last attempt returns or raises")


def _lock(descriptor: int, place: Path, file: Path) -> None:
    try:
        free = lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        warnings.warn(
            f"{place} lies where files cannot be locked ({error.strerror or error}); "
            "see to it that nothing else writes there",
            CompressorWarning,
            stacklevel=2,
        )
        return
    if not free and _is(descriptor, file):
        raise Occupied(
            f"{place} is being written by {_holder(descriptor)}; wait for it, stop it, or choose another --out"
        )


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a lock without a name on a full disk is a lock
        program = Path(sys.argv[0]).name.replace("__main__.py", "compress")
        command = shlex.join([program, *sys.argv[1:]])
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n{command}\n".encode(errors="replace"), 0)


def _holder(descriptor: int) -> str:
    """Who holds the lock, from its file; a moment ago that may have been somebody who is dead now."""
    patience = time.monotonic() + PATIENCE_S
    while True:
        pid, _, command = os.pread(descriptor, 4096, 0).decode(errors="replace").partition("\n")
        if pid.isdecimal() and _alive(int(pid)):
            break
        if time.monotonic() > patience:
            return "another process"
        time.sleep(0.01)
    shown = "".join(c if c.isprintable() else " " for c in command.strip())[:SHOWN]
    return f"process {pid} ({shown})"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _make(folder: Path) -> list[Path]:
    """Make ``folder`` and those around it; returns the new ones, the outermost first."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _is(descriptor: int, path: Path) -> bool:
    """Whether what is open is what lies at ``path``."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except OSError:
        return False
