"""safetensors: a header in JSON and the bytes behind it."""

from __future__ import annotations

import json
import struct
from typing import Any

from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import Plain, headers
from fuzz.formats.documents import Document
from fuzz.trees import Aims


class TensorFile(Plain):
    """The header as a tree, our own header inside its metadata as one too."""

    def read(self, content: bytes) -> Any:
        """Header and data."""
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        for key, value in header.get("__metadata__", {}).items():
            header["__metadata__"][key] = {"json": json.loads(value)}
        return {"header": header, "length": None, "data": content[8 + length :]}

    def write(self, tree: Any) -> bytes:
        """The same form with whatever is in it; a length of None is the true one."""
        if not isinstance(tree, dict):
            return Document().write(tree)
        header = tree.get("header", {})
        known = header.get("__metadata__") if isinstance(header, dict) else None
        if isinstance(known, dict):
            header = {**header, "__metadata__": {key: _text(value) for key, value in known.items()}}
        text = Document().write(header)
        length, data = tree.get("length"), tree.get("data", b"")
        length = length % 2**64 if type(length) is int else len(text)
        return (
            struct.pack("<Q", length) + text + (data if isinstance(data, bytes) else str(data).encode(errors="replace"))
        )

    def aims(self) -> Aims:
        """Our own header, and where tensors lie and what they are."""
        kinds = st.sampled_from(("F64", "F16", "I64", "BOOL", "F8_E4M3", "F4", "X", "", 7))
        return (
            *headers.aims("header/__metadata__/compressor.checkpoint/json"),
            ("header/[^/]+/dtype", kinds),
            ("header/[^/]+/(shape|data_offsets).*", st.sampled_from(values.NUMBERS)),
            ("length", st.sampled_from(values.NUMBERS)),
        )


def _text(value: Any) -> Any:
    return Document().write(value["json"]).decode() if isinstance(value, dict) and "json" in value else value
