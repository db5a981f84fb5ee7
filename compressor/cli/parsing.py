"""What people write for an option's value, and the value that it means."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import click

from compressor.errors import UnknownName, UsageError


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


def parse_shape(text: str) -> tuple[int, ...]:
    """``3x32x32`` or ``3,32,32`` as a tuple."""
    parts = text.lower().replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{text!r} is not a shape; write channels x height x width, for example 3x224x224")
    return tuple(int(part) for part in parts)


def parse_beta(text: str) -> tuple[float, float]:
    """``1:1000`` or ``10`` (constant) as (start, end)."""
    start, _, end = text.partition(":")
    try:
        pair = float(start), float(end or start)
    except ValueError:
        pair = (0.0, 0.0)
    if not 0 < pair[0] <= pair[1] < float("inf"):
        raise UsageError(f"{text!r} is not a beta; write START:END with 0 < START <= END, for example 1:1000")
    return pair


def parse_growth(text: str) -> tuple[float, int]:
    """``1.25:40`` as (factor, epochs)."""
    factor, _, epochs = text.partition(":")
    try:
        return float(factor), int(epochs)
    except ValueError:
        raise UsageError(f"{text!r} is not a growth; write FACTOR:EPOCHS, for example 1.25:40") from None


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
            raise click.BadParameter(f"{pair!r} is not a pair; write name=value, for example alpha=0.5")
        values[key] = value
    return values


def parse_share(text: str) -> float:
    """A share in (0, 1]."""
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise UsageError(f"{text} is not a share in (0, 1], for example 0.5")
    return share


def parse_arch_args(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``k=v`` pairs; values are JSON where they can be, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--arch-arg {pair!r} is not a pair; write name=value, for example num_classes=10")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values
