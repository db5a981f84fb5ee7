"""How a file becomes a tree of plain data, and a tree, whatever is in it by then, a file again."""

from __future__ import annotations

from typing import Any, Protocol

from hypothesis import strategies as st

from fuzz import values
from fuzz.trees import Aims


class Format(Protocol):
    """One kind of structure."""

    def read(self, content: bytes) -> Any:
        """The tree of a whole file."""

    def write(self, tree: Any) -> bytes:
        """The file of a tree that was edited in any way."""

    def values(self) -> st.SearchStrategy[Any]:
        """What is put in the places of the tree."""

    def aims(self) -> Aims:
        """Places that deserve more, and what is put there."""

    def made(self, value: Any) -> Any:
        """What a value stands for that only this format knows; others as they are."""


class Plain:
    """Values as they are everywhere."""

    def values(self) -> st.SearchStrategy[Any]:
        """Hostile values of JSON."""
        return values.hostile()

    def aims(self) -> Aims:
        """None."""
        return ()

    def made(self, value: Any) -> Any:
        """Nothing of its own."""
        return value
