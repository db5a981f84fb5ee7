"""Networks from any importable module: ``package.module:factory``."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from compressor.errors import UsageError
from compressor.sources.factory import call, pick


def build(ref: str, args: dict[str, Any]) -> Any:
    """Import the module (the current folder counts) and call its factory."""
    name, _, attribute = ref.partition(":")
    if not attribute:
        raise UsageError(f"architecture {ref!r} names no factory; write package.module:factory")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = import_module(name)
    except Exception as error:  # importing runs the module, which can fail in any way
        raise UsageError(f"cannot import {name!r} for architecture {ref!r}: {type(error).__name__}: {error}") from error
    return call(pick(module, attribute, name), ref, args)
