"""What people write for an option's value, and the value that it means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click

from compressor.errors import UnknownName, UsageError

# Digits of a number that anything can be counted with, and of a text that a message repeats.
DIGITS, SHOWN = 18, 40
# Of one sample; none that a network reads has more.
DIMENSIONS = 8
# Types of inputs by torch's names.
NUMBERS = ("float32", "float64", "float16", "bfloat16")
WHOLE_NUMBERS = ("int64", "int32", "uint8", "bool")
# Powers of 1000 or, with an i, of 1024.
UNITS = ("", "k", "m", "g", "t")


class Parsed(click.ParamType[Any]):
    """A value read by a function whose errors are ours."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value; click shows the error with the option's name."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def shortened(text: str) -> str:
    """``text`` in quotes for a message, cut where it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def parse_integer(text: str) -> int:
    """An integer of at most 18 digits: Python reads no endless ones, and nothing here counts further."""
    if not re.fullmatch(r"\s*[+-]?[0-9]+(_[0-9]+)*\s*", text):
        raise UsageError(f"{shortened(text)} is not a valid integer")
    if len(text) > SHOWN or len(text.strip().lstrip("+-0")) > DIGITS:
        raise UsageError(f"{shortened(text)} is beyond {DIGITS} digits")
    return int(text)


def parse_integers(text: str) -> tuple[int, ...]:
    """``1,2,4`` as a tuple."""
    return tuple(map(parse_integer, text.split(",")))


def parse_float(text: str) -> float:
    """A number; what it may be, infinities and NaN included, is checked where it is used."""
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{shortened(text)} is not a valid number, for example 0.5") from None


def parse_shape(text: str) -> tuple[int, ...]:
    """``3x32x32`` or ``3,32,32`` as a tuple."""
    parts = [part.strip() for part in text.lower().replace(",", "x").split("x")]
    if len(parts) > DIMENSIONS or not all(re.fullmatch(r"0*[1-9][0-9]{0,17}", part, re.ASCII) for part in parts):
        raise UsageError(f"{shortened(text)} is not a shape; write channels x height x width, for example 3x224x224")
    return tuple(map(int, parts))


@dataclass(frozen=True)
class InputSpec:
    """An input as ``--input`` describes it: batch included; ``name`` is None for the next positional argument."""

    name: str | None
    shape: tuple[int, ...]
    dtype: str
    low: int = 0
    high: int = 1


def parse_input(text: str) -> InputSpec:
    """``ids=2x128:int64:0-999``: a name, a shape with its batch, a type and for integers a range; all but the shape may
    be left out.
    """
    parts = re.fullmatch(r"(?:([^\W\d]\w*)=)?([^=:]+)(?::(\w+))?(?::(\d{1,18})-(\d{1,18}))?", text, re.ASCII)
    dtype = (parts[3] or "float32") if parts is not None else ""
    whole = dtype in WHOLE_NUMBERS
    low, high = (int(parts[4]), int(parts[5])) if parts is not None and parts[4] else (0, 1)
    if parts is None or not (whole or dtype in NUMBERS) or (parts[4] and not whole) or low > high:
        raise UsageError(
            f"{shortened(text)} is not an input; write [NAME=]SHAPE[:TYPE[:LOW-HIGH]], for example "
            f"ids=2x128:int64:0-999, where TYPE is {', '.join((*NUMBERS, *WHOLE_NUMBERS))}"
        )
    return InputSpec(parts[1], parse_shape(parts[2]), dtype, low, high)


def parse_beta(text: str) -> tuple[float, float]:
    """``1:1000`` or ``10`` (constant) as (start, end)."""
    start, _, end = text.partition(":")
    try:
        pair = float(start), float(end or start)
    except ValueError:
        pair = (0.0, 0.0)
    if not 0 < pair[0] <= pair[1] < float("inf"):
        raise UsageError(f"{shortened(text)} is not a beta; write START:END with 0 < START <= END, for example 1:1000")
    return pair


def parse_growth(text: str) -> tuple[float, int]:
    """``1.25:40`` as (factor, epochs)."""
    factor, _, epochs = text.partition(":")
    try:
        return float(factor), parse_integer(epochs)
    except ValueError:  # UsageError is one
        raise UsageError(f"{shortened(text)} is not a growth; write FACTOR:EPOCHS, for example 1.25:40") from None


def one_of(kind: str, names: Iterable[str]) -> Callable[[str], str]:
    """Parses a registered name; `UnknownName` tells the nearest."""

    def parse(text: str) -> str:
        if text not in names:
            raise UnknownName(kind, text, names)
        return text

    return parse


def parse_number_pairs(context: click.Context, parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    """``k=v`` pairs of a repeated option; the values are read where they are used."""
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise click.BadParameter(f"{shortened(pair)} is not a pair; write name=value, for example alpha=0.5")
        values[key] = value
    return values


def parse_share(text: str) -> float:
    """A share in (0, 1]."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"{shortened(text)[1:-1]} is not a share in (0, 1], for example 0.5")
    return share


def parse_size(text: str) -> int:
    """``8GB``, ``512MB``, ``2GiB`` or a number of bytes, as bytes."""
    parts = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?)\s*([kmgt]?)(i?)b?", text.strip(), re.IGNORECASE | re.ASCII)
    size = 0 if parts is None else int(float(parts[1]) * (1024 if parts[3] else 1000) ** UNITS.index(parts[2].lower()))
    if size < 1:
        raise UsageError(f"{shortened(text)} is not a size; write for example 8GB, 512MB or 2GiB")
    return size


# Of a pair.
EXAMPLES = {"--arch-arg": "num_classes=10", "--task-arg": "label_smoothing=0.1"}


def parse_arguments(pairs: tuple[str, ...], option: str) -> dict[str, Any]:
    """``k=v`` pairs of ``option``; values are JSON where they can be, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(
                f"{option} {shortened(pair)} is not a pair; write name=value, for example {EXAMPLES[option]}"
            )
        values[key] = _json_or_text(option, key, value)
    return values


def _json_or_text(option: str, key: str, value: str) -> Any:
    try:
        plain = json.loads(value)
    except ValueError:  # also of integers that Python does not read
        return value
    except RecursionError:
        raise UsageError(f"{option} {key}={shortened(value)[1:-1]} is nested too deeply") from None
    try:
        json.dumps(plain, allow_nan=False)  # as a checkpoint keeps it
    except ValueError:
        raise UsageError(f"{option} {key}={shortened(value)[1:-1]} is not a finite number") from None
    return plain
