r"""Minimax concave penalty: :math:`r(w) = \sum_i |w_i| - w_i^2/(2a)` up to a, flat beyond.

Zhang, "Nearly unbiased variable selection under minimax concave penalty", Annals of Statistics 38(2), 2010,
eq. 2.1 with lambda = 1 and gamma = a.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import hardshrink, softshrink

from compressor.penalties.options import Elementwise, option


@dataclass(frozen=True)
class Mcp(Elementwise):
    r"""Shrinks weights less and less up to ``a``, then not at all.

    .. math:: r(t) = t - t^2/(2a) \text{ for } 0 \le t \le a, \quad a/2 \text{ beyond}

    The shape is fixed and the step multiplies it (`Scaled` is the papers' shape, which grows with its threshold).
    a > 1. Convex up to step = a; from there on the parabola on [0, a] opens downwards, only 0 and x can win, and the
    prox is a hard threshold at sqrt(a step). Zhang 2010, eq. 2.1.
    """

    name: ClassVar[str] = "mcp"
    separable: ClassVar[bool] = True
    degree: ClassVar[None] = None
    knots_at_threshold: ClassVar[bool] = True

    a: float = option(3.0, allowed="above 1 and below 1e30", holds=lambda a: 1 < a < 1e30)

    @property
    def convex_up_to(self) -> float:
        """The shape a."""
        return self.a

    def threshold(self, step: float) -> float:
        """The step, or sqrt(a step) beyond the convexity bound."""
        return step if step < self.a else sqrt(self.a * step)

    def value(self, w: Tensor) -> Tensor:
        """Sum of the formula of the class."""
        size = w.abs().clamp_max(self.a)
        return (size - size.square() / (2 * self.a)).sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Firm threshold: a line from (step, 0) to (a, a), the identity beyond; else the hard threshold."""
        if step >= self.a:
            return hardshrink(x, self.threshold(step))
        size = x.abs()
        line = softshrink(size, step).mul_(self.a / (self.a - step))
        return line.clamp_max_(size).copysign_(x)
