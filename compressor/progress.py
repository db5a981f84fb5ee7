"""How long work reports how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the finished share in [0, 1] and what is being done."""


def silent(share: float, text: str) -> None:
    """Report no progress."""
