"""What a weight costs: the elementwise penalties r(v) and their exact proxes.

Adding one is one file with a class and one line in `PENALTIES`; options, listing and the brute-force
test of the prox follow by themselves.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Protocol

from compressor.errors import UsageError
from compressor.registry import resolve

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES = {
    "l0": "compressor.penalties.l0:L0",
    "l1": "compressor.penalties.l1:L1",
    "l1-l2": "compressor.penalties.l1_minus_l2:L1MinusL2",
    "transformed-l1": "compressor.penalties.transformed_l1:TransformedL1",
}


class Penalty(Protocol):
    """A penalty r on the entries of one tensor."""

    separable: bool
    """Whether r is a sum over entries; else it is a function of the whole tensor."""

    def value(self, w: Tensor) -> Tensor:
        """r(w), a scalar."""

    def prox(self, x: Tensor, step: float) -> Tensor:
        """The minimiser over v of ``step * r(v) + ||v - x||^2 / 2``: same shape as ``x``, step >= 0."""


def penalty(name: str, **options: float) -> Penalty:
    """Build the penalty called ``name``; `UnknownName` or `UsageError` say what is allowed."""
    build = resolve("penalty", PENALTIES, name)
    takes = list(signature(build).parameters)
    foreign = sorted(set(options) - set(takes))
    if foreign:
        raise UsageError(f"penalty {name!r} has no option {foreign[0]!r}; it takes {', '.join(takes) or 'none'}")
    built: Penalty = build(**options)
    return built
