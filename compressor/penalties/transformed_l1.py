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

from compressor.errors import UsageError


@dataclass(frozen=True)
class TransformedL1:
    """Saturating penalty with shape ``a`` > 0; large weights are hardly shrunk."""

    a: float = 1.0
    separable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.a > 0:
            raise UsageError(f"a of transformed-l1 must be positive, got {self.a}")

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
        # Below the threshold the argument can leave [-1, 1]; those entries are zeroed anyway.
        argument = 1 - 27 * step * a * (a + 1) / (2 * (a + size) ** 3)
        phi = torch.acos(argument.clamp(-1, 1))
        root = 2 / 3 * (a + size) * torch.cos(phi / 3) - 2 * a / 3 + size / 3
        return torch.where(size > threshold, root.copysign(x), torch.zeros_like(x))
