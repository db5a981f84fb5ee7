"""Networks that ship with this package."""

from __future__ import annotations

from typing import Any

from compressor.architectures import ARCHITECTURES
from compressor.registry import resolve
from compressor.sources.factory import call


def build(name: str, args: dict[str, Any]) -> Any:
    """A built-in architecture by name."""
    return call(resolve("architecture", ARCHITECTURES, name), name, args)
