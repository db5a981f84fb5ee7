"""What a file may cost before it is refused: memory, as much as ``--max-memory`` allows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from compressor.errors import CompressorError

GIB = 2**30
# A process that stays below 4 GiB with what torch takes itself.
DEFAULT_MEMORY = 3 * GIB

_memory = ContextVar("memory", default=DEFAULT_MEMORY)


@contextmanager
def memory_limit(limit: int) -> Iterator[None]:
    """Let files ask for ``limit`` bytes inside the block."""
    token = _memory.set(limit)
    try:
        yield
    finally:
        _memory.reset(token)


def allowed() -> int:
    """How many bytes a file may ask for."""
    return _memory.get()


def check_memory(needed: float, what: str, *, held: int = 0, kind: type[CompressorError] = CompressorError) -> None:
    """Raise ``kind`` when ``what`` needs more than the limit beyond ``held``, the bytes of the file that says so.

    Call it before anything is allocated: a small file can ask for any amount.
    """
    limit = _memory.get() + held
    if needed > limit:
        raise kind(
            f"{what} needs {_size(needed)} of memory and at most {_size(limit)} is allowed; --max-memory allows more"
        )


def _size(count: float) -> str:
    if count < GIB / 10:
        return f"{count / 2**20:.3g} MiB"
    return f"{count / GIB:.1f} GiB" if count < 1e6 * GIB else "more than a million GiB"
