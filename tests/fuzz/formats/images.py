"""PNG: its chunks, with the sizes that the first one states."""

from __future__ import annotations

import struct
import zlib
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import Plain
from fuzz.formats.zips import as_bytes
from fuzz.trees import Aims

SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Png(Plain):
    """Chunks; sums are made right again."""

    def read(self, content: bytes) -> Any:
        """The chunks, the first as numbers."""
        chunks, place = [], len(SIGNATURE)
        while place < len(content):
            (length,) = struct.unpack(">I", content[place : place + 4])
            kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
            chunks.append({"kind": kind.decode(), "data": data})
            place += 12 + length
        width, height, *rest = struct.unpack(">2I5B", chunks[0]["data"])
        return {"width": width, "height": height, "rest": rest, "chunks": chunks[1:]}

    def write(self, tree: Any) -> bytes:
        """Whatever sizes it states."""
        tree = tree if isinstance(tree, dict) else {}
        sizes = [tree.get(key) for key in ("width", "height")]
        rest = tree.get("rest")
        head = b"".join(struct.pack(">I", size % 2**32) for size in sizes if type(size) is int)
        head += bytes(number % 256 for number in rest if type(number) is int) if isinstance(rest, list) else b""
        chunks = tree.get("chunks")
        body = (
            [_chunk(c.get("kind"), c.get("data")) for c in chunks if isinstance(c, dict)]
            if isinstance(chunks, list)
            else []
        )
        return SIGNATURE + _chunk("IHDR", head) + b"".join(body)

    def aims(self) -> Aims:
        """Sizes, depths and colours."""
        return (("width|height", st.sampled_from(values.NUMBERS)), (r"rest/\d", st.integers(0, 255)))


def _chunk(kind: Any, data: Any) -> bytes:
    content = as_bytes(kind)[:4].ljust(4, b"\0") + as_bytes(data)
    return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
