r"""Smoothly clipped absolute deviation: l1 up to 1, a parabola up to a, flat beyond.

Fan and Li, "Variable selection via nonconcave penalized likelihood and its oracle properties", JASA 96(456),
2001, eq. 2.7 with lambda = 1; the prox within the convexity bound is their eq. 2.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softshrink

from compressor.penalties.options import Elementwise, option


@dataclass(frozen=True)
class Scad(Elementwise):
    r"""Like l1 up to 1, less and less up to ``a``, then not at all.

    .. math:: r(t) = t \text{ for } 0 \le t \le 1, \quad
              \frac{2at - t^2 - 1}{2(a-1)} \text{ for } 1 < t \le a, \quad \frac{a+1}{2} \text{ beyond}

    The shape is fixed and the step multiplies it (`Scaled` is the papers' shape, which grows with its threshold).
    a > 2. Convex up to step = a - 1; from there on the parabola on [1, a] opens downwards, and only the soft threshold
    on [0, 1] and x can win. Fan and Li 2001, eqs. 2.7 and 2.8.
    """

    name: ClassVar[str] = "scad"
    separable: ClassVar[bool] = True
    degree: ClassVar[None] = None
    knots_at_threshold: ClassVar[bool] = True

    a: float = option(3.7, allowed="above 2 and below 1e30", holds=lambda a: 2 < a < 1e30)

    @property
    def convex_up_to(self) -> float:
        """a - 1."""
        return self.a - 1

    def threshold(self, step: float) -> float:
        """The step, or sqrt((a + 1) step) once zero passes straight to x."""
        return step if step <= self.a + 1 else sqrt((self.a + 1) * step)

    def value(self, w: Tensor) -> Tensor:
        """Sum of the formula of the class."""
        size = w.abs()
        # The parabola lies below the l1 norm by (t - 1)^2 / (2 (a - 1)), counted from 1 to a.
        past = (size.clamp_max(self.a) - 1).clamp_min(0)
        return (size.clamp_max(self.a) - past.square() / (2 * (self.a - 1))).sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Soft threshold, a line from (1 + step, 1) to (a, a), the identity; or a jump instead of the line."""
        if step >= self.convex_up_to:
            # x costs (a + 1) step / 2, its soft threshold step x - step^2 / 2, and zero x^2 / 2.
            jump = (self.a + 1 + step) / 2 if step <= self.a + 1 else self.threshold(step)
            return torch.where(x.abs() > jump, x, softshrink(x, step))
        size = x.abs()
        # The line rises above the soft threshold by this much; written as a difference from a, it loses the digits of
        # small weights where a is large.
        above = softshrink(size, 1 + step).mul_(step / (self.a - 1 - step))
        return softshrink(size, step).add_(above).clamp_max_(size).copysign_(x)
