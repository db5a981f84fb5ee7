"""What penalties have in common: options that know which values are allowed, and a prox for many tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar, TypeVar

from torch import Tensor

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


class Elementwise(Options, ABC):
    """Base of the penalties on the entries of a tensor."""

    knots_at_threshold: ClassVar[bool] = False
    """Whether the papers' shape of it grows with the threshold (`Scaled`)."""

    @abstractmethod
    def prox(self, x: Tensor, step: float) -> Tensor:
        """A new tensor: the minimiser over v of ``step * r(v) + ||v - x||^2 / 2``, step >= 0."""

    def prox_each(self, xs: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
        """`prox` of every tensor with its own step."""
        return [self.prox(x, step) for x, step in zip(xs, steps, strict=True)]
