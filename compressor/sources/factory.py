"""Call a factory with the user's arguments, and say in one line what did not fit; our own factories."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from compressor.architectures import ARCHITECTURES
from compressor.errors import UsageError
from compressor.registry import resolve


def call(factory: Callable[..., Any], name: str, args: dict[str, Any]) -> Any:
    """``factory(**args)``; `UsageError` when the arguments do not fit its signature, or it fails."""
    try:
        inspect.signature(factory).bind(**args)
    except TypeError as error:
        takes = ", ".join(inspect.signature(factory).parameters) or "no arguments"
        raise UsageError(f"--arch-arg does not fit {name}: {error}; it takes {takes}") from None
    except ValueError:  # a builtin without a signature; the call itself will tell
        pass
    try:
        return factory(**args)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in args.items())
        raise UsageError(f"{name} failed with ({given}): {type(error).__name__}: {error}") from error


def pick(module: Any, attribute: str, where: str) -> Callable[..., Any]:
    """``module.attribute`` as a factory; `UsageError` names the factories that are there."""
    factory = getattr(module, attribute, None)
    if callable(factory):
        return factory  # type: ignore[no-any-return]
    public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    own = [name for name in public if getattr(vars(module)[name], "__module__", "") == module.__name__]
    raise UsageError(f"{where} has no factory {attribute!r}; it has: {', '.join(sorted(own)) or 'none'}")


def build_builtin(name: str, args: dict[str, Any]) -> Any:
    """A built-in architecture by name."""
    return call(resolve("architecture", ARCHITECTURES, name), name, args)
