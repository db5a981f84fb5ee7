"""Code of the user's own, named as ``path/to/file.py:name`` or ``package.module:name``: run, picked from and called.

It runs with the rights of this process: only what the user names on the command line, or trusts, may get here.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

from compressor.errors import CompressorError, UsageError


class Kind(NamedTuple):
    """What is looked for, in the words of messages, and the option that gives its arguments; empty where none does."""

    name: str
    thing: str
    arguments: str = ""


def names_file(ref: str) -> bool:
    """Whether ``ref`` names something in a Python file, or such a file alone."""
    return ref.rpartition(":")[0].endswith(".py") or ref.endswith(".py")


def made_by(kind: Kind, ref: str, args: Mapping[str, Any]) -> Any:
    """What the function or class that ``ref`` names makes of ``args``; `UsageError` where it cannot."""
    found = of_file(kind, ref) if names_file(ref) else of_module(kind, ref)
    return called(kind, found, ref, args)


def of_file(kind: Kind, ref: str) -> Callable[..., Any]:
    """Run the file as a module of its own, and pick what ``ref`` names in it."""
    path, _, attribute = ref.rpartition(":")
    if not path:
        raise UsageError(f"{kind.name} {ref!r} names no {kind.thing}; write {ref}:{kind.thing}")
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{kind.name} file {path} does not exist")
    name = f"compressor_user_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    # Dataclasses and torch look a class's module up by name.
    sys.modules[name] = module
    with foreign(f"{path} failed when it was run"):
        spec.loader.exec_module(module)
    return _pick(kind, module, attribute, path)


def of_module(kind: Kind, ref: str) -> Callable[..., Any]:
    """Import the module (the current folder counts), and pick what ``ref`` names in it."""
    name, _, attribute = ref.partition(":")
    if not attribute:
        raise UsageError(f"{kind.name} {ref!r} names no {kind.thing}; write package.module:{kind.thing}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    with foreign(f"cannot import {name!r} for {kind.name} {ref!r}"):
        module = import_module(name)
    return _pick(kind, module, attribute, name)


def called(kind: Kind, factory: Callable[..., Any], name: str, args: Mapping[str, Any]) -> Any:
    """``factory(**args)``; `UsageError` when the arguments do not fit its signature, or it fails."""
    try:
        inspect.signature(factory).bind(**args)
    except TypeError as error:
        takes = ", ".join(inspect.signature(factory).parameters) or "no arguments"
        raise UsageError(f"{kind.arguments} does not fit {name}: {error}; it takes {takes}".lstrip()) from None
    except ValueError:  # a builtin without a signature; the call itself will tell
        pass
    given = ", ".join(f"{key}={value!r:.80}" for key, value in args.items())
    with foreign(f"{name} failed with ({given})"):
        return factory(**args)


@contextlib.contextmanager
def foreign(what: str) -> Iterator[None]:
    """A call of code that is not ours, which can fail in any way: `UsageError`, also where it leaves the process.

    What it prints goes to stderr, because stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except CompressorError:
        raise
    except SystemExit as error:
        raise UsageError(f"{what}: it left the process (SystemExit: {error})") from error
    except Exception as error:
        raise UsageError(f"{what}: {type(error).__name__}: {error}") from error


def _pick(kind: Kind, module: Any, attribute: str, where: str) -> Callable[..., Any]:
    """``module.attribute``, which can be called; `UsageError` names what is there."""
    found = getattr(module, attribute, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    own = [name for name in public if getattr(vars(module)[name], "__module__", "") == module.__name__]
    raise UsageError(f"{where} has no {kind.thing} {attribute!r}; it has: {', '.join(sorted(own)) or 'none'}")
