"""The smallest case that fails in the same way: edits are undone while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from fuzz.cases import Case

LEVELS = ("tree", "raw", "around")


def smallest(case: Case, fails: Callable[[Case], bool]) -> Case:
    """``case`` with as few and as short edits as still make ``fails`` true."""
    found = True
    while found:
        found = False
        for candidate in _simpler(case):
            if fails(candidate):
                case, found = candidate, True
                break
    return case


def _simpler(case: Case) -> Iterator[Case]:
    for level in LEVELS:
        edits = getattr(case, level)
        for index, edit in enumerate(edits):
            if case.edits > 1:
                yield replace(case, **{level: (*edits[:index], *edits[index + 1 :])})
            for shorter in _shorter(edit):
                yield replace(case, **{level: (*edits[:index], shorter, *edits[index + 1 :])})


def _shorter(edit: list) -> Iterator[list]:
    """The same edit with less of it: half of what is cut, doubled or inserted, of a long text, of a deep list."""
    operation, place, *rest = edit
    if operation in ("cut", "double", "many") and rest and type(rest[0]) is int and rest[0] > 1:
        yield [operation, place, rest[0] // 2]
    if operation == "insert" and len(rest[0]) > 2:
        half = len(rest[0]) // 4 * 2
        yield from ([operation, place, part] for part in (rest[0][:half], rest[0][half:]) if part)
    if operation == "set" and isinstance(rest[0], dict) and type(rest[0].get("n")) is int and rest[0]["n"] > 1:
        yield [operation, place, {**rest[0], "n": rest[0]["n"] // 2}]
