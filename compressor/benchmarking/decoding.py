"""Plain data back to frozen dataclasses, checked against their annotations."""

from __future__ import annotations

import math
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from compressor.errors import CompressorError

Record = TypeVar("Record")


def decode(kind: type[Record], value: Any, where: str) -> Record:
    """Build the dataclass ``kind`` from a dictionary; ``where`` names it in the `CompressorError`."""
    hints = get_type_hints(kind)
    expected = [entry.name for entry in fields(kind)]  # type: ignore[arg-type]
    if not isinstance(value, dict):
        raise _wrong(where, "an object", value)
    missing = [name for name in expected if name not in value]
    unknown = [str(name) for name in value if name not in expected]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing)
        faults += [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise CompressorError(f"malformed document: {where} {' and '.join(faults)}")
    return kind(**{name: _value(hints[name], value[name], f"{where}.{name}") for name in expected})


def _value(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is UnionType:
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return None if value is None else _value(inner, value, where)
    if origin is tuple:
        return _items(arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, "an object", value)
        return {_value(str, key, where): _value(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise _wrong(where, " or ".join(map(repr, arguments)), value)
        return value
    return _scalar(kind, value, where)


def _items(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(where, "a list", value)
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise _wrong(where, f"a list of {len(kinds)}", value)
    return tuple(_value(kind, entry, f"{where}[{i}]") for i, (kind, entry) in enumerate(zip(kinds, value, strict=True)))


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _wrong(where, "a finite number", value)
        return float(value)
    if kind in (int, str, bool):
        # True is an int to Python, but not to a document.
        if type(value) is not kind:
            raise _wrong(where, {int: "a whole number", str: "a string", bool: "true or false"}[kind], value)
        return value
    return decode(kind, value, where)


def _wrong(where: str, expected: str, value: Any) -> CompressorError:
    shown = repr(value)
    return CompressorError(
        f"malformed document: {where} must be {expected}, got {shown[:60]}{'...' * (len(shown) > 60)}"
    )
