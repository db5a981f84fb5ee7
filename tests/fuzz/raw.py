"""Edits of bytes: flips, cuts, insertions, doublings; each as plain data, so that a case can be kept as JSON."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Edit = list[Any]
# Where a position is beyond the end it wraps, so that an edit stays one when an edit before it is undone.
WHOLE = 1 << 20


def edited(content: bytes, edit: Edit) -> bytes:
    """``content`` after one edit."""
    operation, *rest = edit
    if not content:
        return bytes.fromhex(rest[1]) if operation == "insert" else content
    place = rest[0] % len(content)
    match operation:
        case "flip":
            return content[:place] + bytes([content[place] ^ (1 << rest[1])]) + content[place + 1 :]
        case "cut":
            return content[:place] + content[place + rest[1] :]
        case "insert":
            return content[:place] + bytes.fromhex(rest[1]) + content[place:]
        case "double":
            return content[: place + rest[1]] + content[place:]
        case "end":
            return content[:place]
    raise ValueError(f"unknown edit {edit}")


def edits() -> st.SearchStrategy[Edit]:
    """One edit of bytes of any length."""
    place, length = st.integers(0, WHOLE), st.integers(1, 64)
    return st.one_of(
        st.tuples(st.just("flip"), place, st.integers(0, 7)).map(list),
        st.tuples(st.just("cut"), place, length).map(list),
        st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=16).map(bytes.hex)).map(list),
        st.tuples(st.just("double"), place, length).map(list),
        st.tuples(st.just("end"), place).map(list),
    )
