"""The options of a penalty: dataclass fields that know which values are allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeVar

from compressor.errors import UsageError

T = TypeVar("T")


def option(default: T, *, allowed: str, holds: Callable[[T], bool]) -> T:
    """A dataclass field whose values must satisfy ``holds``; ``allowed`` says so in words."""
    made: T = field(default=default, metadata={"allowed": allowed, "holds": holds})
    return made


@dataclass(frozen=True)
class Options:
    """Base of what has options: a value outside its domain is a `UsageError` that says what is allowed."""

    name: ClassVar[str]

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if part.metadata and not part.metadata["holds"](value):
                raise UsageError(f"{part.name} of {self.name} must be {part.metadata['allowed']}, got {value}")
