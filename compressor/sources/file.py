"""Networks from a Python file: ``path/to/file.py:factory``."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from compressor.errors import UsageError
from compressor.sources.factory import call, pick


def build(ref: str, args: dict[str, Any]) -> Any:
    """Run the file as a module of its own and call its factory."""
    path, _, attribute = ref.rpartition(":")
    if not path:
        raise UsageError(f"architecture {ref!r} names no factory; write {ref}:factory")
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"architecture file {path} does not exist")
    name = f"compressor_user_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file")
    module = module_from_spec(spec)
    # Dataclasses and torch look a class's module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} failed when it was run: {type(error).__name__}: {error}") from error
    return call(pick(module, attribute, path), ref, args)
