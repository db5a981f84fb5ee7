r"""The l1 norm: :math:`r(w) = \sum_i |w_i|`; its prox is the soft threshold.

Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58(1), 1996.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class L1:
    """Sum of absolute values; shrinks every weight by the step, convex."""

    separable: ClassVar[bool] = True

    def value(self, w: Tensor) -> Tensor:
        """Sum of \\|w\\|."""
        return w.abs().sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Soft threshold: sign(x) max(\\|x\\| - step, 0)."""
        return x - x.clamp(-step, step)
