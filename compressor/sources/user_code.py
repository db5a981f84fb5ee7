"""Networks from the user's own code: ``path/to/file.py:factory`` or ``package.module:factory``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from compressor.errors import UsageError
from compressor.sources.factory import call, pick


def build_from_file(ref: str, args: dict[str, Any]) -> Any:
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
        raise UsageError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    # Dataclasses and torch look a class's module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} failed when it was run: {type(error).__name__}: {error}") from error
    return call(pick(module, attribute, path), ref, args)


def build_from_module(ref: str, args: dict[str, Any]) -> Any:
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
