r"""Transformed l1: :math:`r(w) = \sum_i (a+1)|w_i| / (a+|w_i|)`, between l0 (a -> 0) and l1 (a -> inf).

Zhang and Xin, "Minimization of transformed l1 penalty: closed form representation and iterative
thresholding algorithms", Commun. Math. Sci. 15(2), 2017, theorem 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from compressor.penalties.options import Elementwise, option


@dataclass(frozen=True)
class TransformedL1(Elementwise):
    r"""Between l0 (small ``a``) and l1 (large ``a``).

    .. math:: r(w) = \sum_i \frac{(a+1)\,|w_i|}{a + |w_i|}

    a > 0. Convex up to step = a^2 / (2 (a + 1)), where the prox starts to jump away from zero. Zhang and Xin 2017,
    theorem 3.1.
    """

    name: ClassVar[str] = "transformed-l1"
    separable: ClassVar[bool] = True
    degree: ClassVar[None] = None

    a: float = option(1.0, allowed="positive and below 1e30", holds=lambda a: 1e-30 < a < 1e30)

    @property
    def convex_up_to(self) -> float:
        """a^2 / (2 (a + 1)), the critical step of the theorem."""
        return self.a * self.a / (2 * (self.a + 1))

    def threshold(self, step: float) -> float:
        """step (a + 1) / a up to the critical step, then sqrt(2 step (a + 1)) - a / 2."""
        if step <= self.convex_up_to:
            return step * (self.a + 1) / self.a
        return sqrt(2 * step * (self.a + 1)) - self.a / 2

    def value(self, w: Tensor) -> Tensor:
        """Sum of (a + 1) \\|w\\| / (a + \\|w\\|)."""
        size = w.abs()
        return ((self.a + 1) * size / (self.a + size)).sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Thresholding: 0 up to t(step), then the largest root of the stationarity cubic."""
        a, size = self.a, x.abs()
        # The theorem's root 2/3 (a+|x|) cos(phi/3) - 2a/3 + |x|/3 with cos phi = 1 - 2 bend, in half angles:
        # for large a, where phi is tiny, the cosine would lose every digit of float32.
        # Finite, so that an infinite weight stays what it is.
        whole = size.add(a).clamp_max_(torch.finfo(x.dtype).max / 2)
        # Powers of a / whole and not of a, which would overflow float32; in place, because fresh memory costs most.
        bend = whole.reciprocal().mul_(a).square_().mul_(27 / 4 * step * (a + 1) / a).div_(whole)
        # Below the threshold bend can pass 1; those entries are zeroed anyway.
        sine = bend.clamp_max_(1).sqrt_().asin_().div_(3).sin_()
        gone = size <= self.threshold(step)
        return size.addcmul_(whole, sine.square_(), value=-4 / 3).copysign_(x).masked_fill_(gone, 0)
