"""Arrays: numpy's header inside a zip, and the idx files of MNIST."""

from __future__ import annotations

import gzip
import struct
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import Plain
from fuzz.formats.bombs import Bomb, deflated
from fuzz.formats.zips import Archive, as_bytes
from fuzz.trees import Aims

MAGIC = b"\x93NUMPY"
HEADERS = (
    "",
    "{",
    "(" * 300,
    "(" * 5000,
    "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 400 + ",), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000, 1000), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 8), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 8L), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (4,), }",
    "{'descr': '<U999999999', 'fortran_order': False, 'shape': (4,), }",
    "{'descr': [('a', '<f8'), ('a', '<f8')], 'fortran_order': False, 'shape': (4,), }",
    "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (48,), }",
    "{'descr': '<c16', 'fortran_order': False, 'shape': (48,), }",
    "{'descr': '<f2', 'fortran_order': True, 'shape': (48, 1, 8, 8), }",
    "{'descr': '>u8', 'fortran_order': False, 'shape': (48,), }",
    "{'descr': 'V8', 'fortran_order': False, 'shape': (48,), }",
    "{'descr': '|b1', 'fortran_order': False, 'shape': (48, 1, 8, 8), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 1, 8, 8), }",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (), }",
    "{'descr': '|u1'}",
    "  \n\t{'descr': '|u1',\n 'fortran_order': False, 'shape': (48,), }",
    "__import__('os').system('touch \"$FUZZ_CANARY\"')",
    "{'descr': 1e999j, 'fortran_order': 1, 'shape': 'x'}",
    "'\\N{ESCAPE}'",
    "0777",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (48, 1, 8, 8), }" + " " * 70000,
)


class Npz(Archive):
    """An archive whose members are split into version, header and data."""

    def read(self, content: bytes) -> Any:
        """Every array apart."""
        members = super().read(content)
        for member in members:
            data = member["data"]
            (length,) = struct.unpack("<H", data[8:10])
            member["data"] = {"version": [data[6], data[7]], "header": data[10 : 10 + length].decode("latin-1")}
            member["data"]["values"] = data[10 + length :]
        return members

    def write(self, tree: Any) -> bytes:
        """Arrays put together again."""
        members = tree if isinstance(tree, list) else []
        return super().write(
            [{**member, "data": _array(member.get("data"))} for member in members if isinstance(member, dict)]
        )

    def values(self) -> st.SearchStrategy[Any]:
        """Those of JSON, and headers."""
        return st.one_of(values.hostile(), st.sampled_from(HEADERS))

    def aims(self) -> Aims:
        """Headers, and what any archive is attacked by."""
        return (
            (r"\d+/data/header", st.sampled_from(HEADERS)),
            (r"\d+/data/version/\d", st.integers(0, 9)),
            *super().aims(),
        )


def _array(parts: Any) -> bytes:
    if not isinstance(parts, dict):
        return as_bytes(parts)
    version, header = parts.get("version"), str(parts.get("header", "")).encode("utf-8", errors="surrogatepass")
    version = version if isinstance(version, list) and len(version) == 2 else [1, 0]
    numbers = bytes(number % 256 if type(number) is int else 1 for number in version)
    length = struct.pack("<H", len(header) % 65536) if numbers[0] == 1 else struct.pack("<I", len(header))
    return MAGIC + numbers + length + header + as_bytes(parts.get("values", b""))


class Idx(Plain):
    """Magic number, sizes and values; gzipped or not."""

    def read(self, content: bytes) -> Any:
        """Unpack it."""
        zipped = content[:2] == b"\x1f\x8b"
        content = gzip.decompress(content) if zipped else content
        ends = 4 + 4 * content[3]
        sizes = list(struct.unpack(f">{content[3]}I", content[4:ends]))
        return {"magic": list(content[:4]), "sizes": sizes, "values": content[ends:], "zipped": zipped}

    def write(self, tree: Any) -> bytes:
        """Whatever numbers it states."""
        tree = tree if isinstance(tree, dict) else {}
        magic = bytes(number % 256 for number in _numbers(tree.get("magic")))
        sizes = b"".join(struct.pack(">I", number % 2**32) for number in _numbers(tree.get("sizes")))
        pixels = as_bytes(tree.get("values", b""))
        content = magic + sizes + pixels
        if isinstance(pixels, Bomb):
            # The header as a stored block in front of the zeros.
            stored = b"\0" + struct.pack("<2H", len(content), len(content) ^ 0xFFFF) + content
            return b"\x1f\x8b\x08" + bytes(7) + stored + deflated(pixels) + bytes(8)
        return gzip.compress(content, 1, mtime=0) if tree.get("zipped") else content

    def aims(self) -> Aims:
        """Sizes, and bombs."""
        bombs = st.sampled_from((2**24, 2**33)).map(lambda size: {"$": "bomb", "size": size})
        return ((r"(sizes|magic)/\d", st.sampled_from(values.NUMBERS)), ("values", bombs))

    def made(self, value: Any) -> Any:
        """A bomb."""
        return Archive().made(value)


def _numbers(value: Any) -> list[int]:
    return [number for number in value if type(number) is int] if isinstance(value, list) else []
