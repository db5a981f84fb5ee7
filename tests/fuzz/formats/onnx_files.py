"""ONNX: every field of every message, through onnx's own classes, and what only ONNX can be attacked by."""

from __future__ import annotations

from typing import Any

import onnx
from hypothesis import strategies as st

from fuzz import values
from fuzz.formats import Plain
from fuzz.trees import Aims

LOCATIONS = (
    "weights.bin",
    "../weights.bin",
    "/etc/passwd",
    "/dev/zero",
    "/dev/stdin",
    "{outside}/fifo",
    "{outside}/payload.py",
    "link",
    "fifo",
    "missing.bin",
    ".",
    "",
    "\0",
    "\x1b[31m",
    "a" * 300,
)


def _external(location: str, dims: list[int], kind: int, offset: str, length: str) -> dict[str, Any]:
    entries = {"location": location, "offset": offset, "length": length}
    data = [{"key": key, "value": value} for key, value in entries.items() if value != "none"]
    return {"name": "outside", "dims": dims, "data_type": kind, "data_location": 1, "external_data": data}


class Model(Plain):
    """The fields that are set, as dictionaries and lists."""

    def read(self, content: bytes) -> Any:
        """Parse it with onnx."""
        return _tree(onnx.ModelProto.FromString(content))

    def write(self, tree: Any) -> bytes:
        """Every field that the message takes; others are left out."""
        message = onnx.ModelProto()
        _fill(message, tree)
        return message.SerializeToString()

    def values(self) -> st.SearchStrategy[Any]:
        """Those of JSON, and tensors whose data lie elsewhere."""
        return st.one_of(values.hostile(), _outside().map(lambda tensor: [tensor]))

    def aims(self) -> Aims:
        """Inputs, initialisers (in the file or outside of it), element types, sizes, metadata, operators."""
        numbers, kinds = (
            st.sampled_from(values.NUMBERS),
            st.sampled_from((0, 99, -1, 1, 2, 7, 8, 9, 10, 11, 14, 16, 17, 23)),
        )
        return (
            ("graph/input", st.sampled_from(([], [{}], [{"name": "x"}], [{"name": "x", "type": {}}]))),
            ("graph/input/.*/elem_type", kinds),
            ("graph/initializer/\\d+/data_type", kinds),
            ("graph/.*/dim_value|graph/initializer/\\d+/dims.*", st.one_of(numbers, st.lists(numbers, max_size=3))),
            ("graph/initializer/\\d+", _outside()),
            ("graph/initializer", _outside().map(lambda tensor: [tensor])),
            ("graph/sparse_initializer", _outside().map(lambda tensor: [{"values": tensor, "indices": tensor}])),
            ("metadata_props/\\d+/value|graph/doc_string|producer_name", st.sampled_from(values.TEXTS)),
            (
                "graph/node/\\d+/op_type",
                st.sampled_from(("", "Loop", "If", "Scan", "Constant", "Expand", "Range", "\x1b[31m")),
            ),
            ("graph/node/\\d+/domain|opset_import/\\d+/domain", st.sampled_from(("", "x", "com.microsoft", "ai.onnx"))),
            ("opset_import/\\d+/version|ir_version", numbers),
            ("graph/node/\\d+/attribute/\\d+/.*", st.one_of(numbers, kinds)),
        )


def _outside() -> st.SearchStrategy[dict[str, Any]]:
    """A tensor whose data are said to lie elsewhere."""
    numbers = st.sampled_from(("none", "0", "-1", "4", "18446744073709551616", "x", "99999999999"))
    dims = st.sampled_from(([4], [0], [-1], [2**40], [2**31, 2**31, 2**31], [], [8, 1, 3, 3]))
    return st.builds(
        _external, st.sampled_from(LOCATIONS), dims, st.sampled_from((1, 7, 0, 8, 99, 16)), numbers, numbers
    )


def _tree(message: Any) -> dict[str, Any]:
    fields = {}
    for field, value in message.ListFields():
        if field.message_type is not None:
            value = [_tree(entry) for entry in value] if field.is_repeated else _tree(value)
        elif field.is_repeated:
            value = list(value)
        fields[field.name] = value
    return fields


def _fill(message: Any, tree: Any) -> None:
    if not isinstance(tree, dict):
        return
    for field in message.DESCRIPTOR.fields:
        if field.name not in tree:
            continue
        value = tree[field.name]
        entries = value if isinstance(value, list) else [value]
        for entry in entries if field.is_repeated else entries[:1]:
            _put(message, field, entry)


def _put(message: Any, field: Any, value: Any) -> None:
    held = getattr(message, field.name)
    if field.message_type is not None:
        _fill(held.add() if field.is_repeated else held, value)
        if not field.is_repeated:
            held.SetInParent()
        return
    try:
        held.append(value) if field.is_repeated else setattr(message, field.name, value)
    except (TypeError, ValueError):
        _put_converted(message, field, value)


def _put_converted(message: Any, field: Any, value: Any) -> None:
    """Numbers wrap as they do on the wire; what has no meaning in the field is left out."""
    if type(value) is int:
        signed = (value + 2**31) % 2**32 - 2**31 if field.cpp_type in (1, 8) else (value + 2**63) % 2**64 - 2**63
        if signed != value:
            _put(message, field, signed)
    elif isinstance(value, str) and field.type == field.TYPE_BYTES:
        _put(message, field, value.encode(errors="surrogatepass"))
