r"""Transformed l1: :math:`r(w) = \sum_i (a+1)|w_i| / (a+|w_i|)`, between l0 (a -> 0) and l1 (a -> inf).

Zhang and Xin, "Minimization of transformed l1 penalty: closed form representation and iterative
thresholding algorithms", Commun. Math. Sci. 15(2), 2017, theorem 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from compressor.errors import UsageError


@dataclass(frozen=True)
class TransformedL1:
    """Saturating penalty with shape ``a`` > 0; large weights are hardly shrunk."""

    a: float = 1.0
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.a < inf:
            raise UsageError(f"a of transformed-l1 must be positive and finite, got {self.a}")

    def value(self, w: Tensor) -> Tensor:
        """Sum of (a + 1) \\|w\\| / (a + \\|w\\|)."""
        size = w.abs()
        return ((self.a + 1) * size / (self.a + size)).sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Thresholding: 0 up to t(step), then the largest root of the stationarity cubic."""
        a, size = self.a, x.abs()
        # Up to the critical step the minimiser is continuous in x, above it jumps away from zero.
        critical = a * a / (2 * (a + 1))
        threshold = step * (a + 1) / a if step <= critical else sqrt(2 * step * (a + 1)) - a / 2
        # The theorem's root 2/3 (a+|x|) cos(phi/3) - 2a/3 + |x|/3 with cos phi = 1 - 2 bend, in half angles:
        # for large a, where phi is tiny, the cosine would lose every digit of float32.
        whole = a + size
        bend = 27 / 4 * step * (a / whole) * ((a + 1) / whole) / whole
        # Below the threshold bend can pass 1; those entries are zeroed anyway.
        root = size - 4 / 3 * whole * torch.sin(torch.asin(bend.clamp_max(1).sqrt()) / 3) ** 2
        return torch.where(size > threshold, root.copysign(x), torch.zeros_like(x))
