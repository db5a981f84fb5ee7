"""Zip files, written by hand so that any field of theirs can lie: .npz, .pt and archives of images."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import Plain
from fuzz.formats.bombs import Bomb, deflated
from fuzz.trees import Aims

# The fields that may lie, with the number of their bits; None is the truth.
FIELDS = {"needed": 16, "flags": 16, "method": 16, "crc": 32, "packed_size": 32, "size": 32, "offset": 32}
DEFLATED = 8


class Archive(Plain):
    """The members, with those of their fields that the directory states."""

    def read(self, content: bytes) -> Any:
        """All members, unpacked."""
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [
                {"name": info.filename, "data": archive.read(info), "deflated": info.compress_type != 0}
                | dict.fromkeys(FIELDS)
                for info in archive.infolist()
            ]

    def write(self, tree: Any) -> bytes:
        """The archive; entries that are none any more are left out."""
        body, directory, count = bytearray(), bytearray(), 0
        for member in tree if isinstance(tree, list) else []:
            if not isinstance(member, dict):
                continue
            local, central = _member(member, len(body))
            body += local
            directory += central
            count += 1
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count % 2**16, count % 2**16, len(directory), len(body), 0)
        return bytes(body + directory) + end

    def aims(self) -> Aims:
        """Fields that lie, names that lead elsewhere, bombs."""
        numbers = st.sampled_from((*values.NUMBERS, 1, 9, 12, 14, 93, 97, 99))
        return (
            (rf"\d+/({'|'.join(FIELDS)})", numbers),
            (r"\d+/name", st.sampled_from((*values.TEXTS, "x.npy", "archive/data.pkl", "/abs.png", "a/" * 300))),
            (r"\d+/data", st.sampled_from((2**24, 2**33)).map(lambda size: {"$": "bomb", "size": size})),
        )

    def made(self, value: Any) -> Any:
        """A bomb."""
        return Bomb(value["size"]) if isinstance(value, dict) and value.get("$") == "bomb" else value


def _member(member: dict[str, Any], offset: int) -> tuple[bytes, bytes]:
    name, data = as_bytes(member.get("name", "")), as_bytes(member.get("data", b""))
    size, packing = len(data), bool(member.get("deflated"))
    packed = _deflate(data) if packing else data
    if isinstance(data, Bomb):
        size, packing, packed = min(data.size, 2**32 - 1), True, deflated(data)
    true = {"needed": 20, "flags": 1 << 11, "method": DEFLATED if packing else 0, "crc": zlib.crc32(data)}
    true |= {"packed_size": len(packed), "size": size, "offset": offset}
    stated = {key: _number(member.get(key), true[key], bits) for key, bits in FIELDS.items()}
    name = name[:65535]
    shared = struct.pack(
        "<5H3I2H",
        *(stated["needed"], stated["flags"], stated["method"], 0, 0x21),
        *(stated["crc"], stated["packed_size"], stated["size"], len(name), 0),
    )
    central = struct.pack("<4sH", b"PK\1\2", 20) + shared + struct.pack("<3H2I", 0, 0, 0, 0, stated["offset"]) + name
    return b"PK\3\4" + shared + name + packed, central


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=-15)
    return packer.compress(data) + packer.flush()


def _number(value: Any, true: int, bits: int) -> int:
    return value % 2**bits if type(value) is int else true


def as_bytes(value: Any) -> bytes:
    """What is no bytes any more as text."""
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogatepass")
