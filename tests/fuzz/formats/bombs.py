"""Few bytes that unpack to many."""

from __future__ import annotations

import zlib
from functools import cache

CHUNK = 1 << 26


class Bomb(bytes):
    """What stands for ``size`` zeros; packed it is a thousandth of that."""

    size: int

    def __new__(cls, size: int) -> Bomb:
        made = super().__new__(cls)
        made.size = size
        return made


def deflated(bomb: Bomb) -> bytes:
    """A deflate stream of its zeros."""
    return _chunk() * -(-bomb.size // CHUNK) + zlib.compressobj(1, wbits=-15).flush()


@cache
def _chunk() -> bytes:
    packer = zlib.compressobj(1, wbits=-15)
    return packer.compress(bytes(CHUNK)) + packer.flush(zlib.Z_FULL_FLUSH)
