"""What a penalty must offer, by its kind: on the entries of a tensor, or on whole rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Penalty(Protocol):
    """A penalty r on the entries of one tensor."""

    @property
    def separable(self) -> bool:
        """Whether r is a sum over entries; else it is a function of the whole tensor."""

    @property
    def degree(self) -> float | None:
        """The d of r(c v) = c^d r(v) for all c > 0; None when there is none."""

    @property
    def convex_up_to(self) -> float:
        """The largest step for which step * r(v) + \\|v\\|^2 / 2 is convex; inf for a convex r."""

    def value(self, w: Tensor) -> Tensor:
        """r(w), a scalar."""

    @property
    def knots_at_threshold(self) -> bool:
        """Whether the papers' shape of it grows with the threshold (`compressor.penalties.scaled.Scaled`)."""

    def threshold(self, step: float) -> float:
        """The largest \\|x\\| whose prox is 0; of a penalty that couples entries, unless that is all of them."""

    def prox(self, x: Tensor, step: float) -> Tensor:
        """A new tensor: the minimiser over v of ``step * r(v) + ||v - x||^2 / 2``, step >= 0."""

    def prox_each(self, xs: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
        """`prox` of every tensor with its own step."""


class GroupPenalty(Protocol):
    """A penalty on whole rows of a (groups, entries) tensor: the sum of ``phi`` over their norms."""

    @property
    def phi(self) -> Penalty:
        """The separable penalty of a norm; its threshold, degree and convexity bound are those of the group penalty."""

    def value(self, rows: Tensor) -> Tensor:
        """The penalty of all rows, a scalar."""

    def prox(self, rows: Tensor, step: float) -> Tensor:
        """A new tensor: the minimiser over v of ``step * value(v) + ||v - rows||^2 / 2``, step >= 0."""


class Subgradient(Protocol):
    """A penalty on whole rows of a (groups, entries) tensor that can be added to a gradient."""

    @staticmethod
    def at_depth(share: float) -> dict[str, float]:
        """The options for a layer that ``share`` of the layers precede, where they are not given."""

    def weight(self, entries: int) -> float:
        """What a row of that length is weighted by."""

    def value(self, rows: Tensor) -> Tensor:
        """The penalty of all rows, a scalar."""

    def subgradient(self, rows: Tensor) -> Tensor:
        """A subgradient at ``rows``, of their shape; 0 for a zero row."""
