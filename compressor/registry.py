"""Name -> ``"module:attribute"`` tables, resolved when asked, so that listing names imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from compressor.errors import UnknownName


def resolve(kind: str, table: Mapping[str, str], name: str) -> Any:
    """Import what ``table[name]`` points at, or raise `UnknownName` with the nearest name."""
    if name not in table:
        raise UnknownName(kind, name, table)
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)


def summary(thing: Any) -> str:
    """First line of a docstring, without its full stop, for listings."""
    return (thing.__doc__ or "").strip().splitlines()[0].rstrip(".")
