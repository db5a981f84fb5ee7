"""Take values out of a header of any origin, refusing what has another type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def field(plain: Any, name: str, *kinds: type) -> Any:
    """``plain[name]``; ValueError when it is missing or of none of the ``kinds``."""
    if not isinstance(plain, Mapping) or name not in plain:
        raise ValueError(f"{name} is missing")
    value = plain[name]
    # No field is a bool, and Python takes True for the integer 1.
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"{name} may not be {_short(value)}")
    return value


def named(plain: Any, name: str) -> dict[str, Any]:
    """``plain[name]`` as a dictionary whose keys are text; ValueError when it is none."""
    value = field(plain, name, Mapping)
    if not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name} may not be {_short(value)}")
    return dict(value)


def texts(plain: Any, name: str) -> tuple[str, ...]:
    """``plain[name]`` as a list of text; ValueError when it is none."""
    value = field(plain, name, list, tuple)
    if not all(isinstance(text, str) for text in value):
        raise ValueError(f"{name} may not be {_short(value)}")
    return tuple(value)


def sizes(plain: Any, name: str) -> tuple[int, ...]:
    """``plain[name]`` as a list of positive integers; ValueError when it is none."""
    value = field(plain, name, list, tuple)
    if not all(type(size) is int and size > 0 for size in value):
        raise ValueError(f"{name} may not be {_short(value)}")
    return tuple(value)


def size(plain: Any, name: str) -> int | tuple[int, ...]:
    """``plain[name]`` as an integer from 0 on or a list of positive ones; ValueError when it is neither."""
    value = field(plain, name, int, list, tuple)
    if not isinstance(value, int):
        return sizes(plain, name)
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} may not be {_short(value)}")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
