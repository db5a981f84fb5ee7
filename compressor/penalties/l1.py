r"""The l1 norm: :math:`r(w) = \sum_i |w_i|`; its prox is the soft threshold.

Tibshirani, "Regression shrinkage and selection via the lasso", JRSS B 58(1), 1996.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softshrink

from compressor.penalties.options import Elementwise


@dataclass(frozen=True)
class L1(Elementwise):
    r"""Shrinks every weight by the same amount.

    .. math:: r(w) = \sum_i |w_i|, \quad \mathrm{prox}(x) = \mathrm{sign}(x) \max(|x| - step, 0)

    No parameters; convex for every step. Tibshirani 1996, section 2.2.
    """

    name: ClassVar[str] = "l1"
    separable: ClassVar[bool] = True
    degree: ClassVar[float] = 1.0
    convex_up_to: ClassVar[float] = inf

    def threshold(self, step: float) -> float:
        """The step itself."""
        return step

    def value(self, w: Tensor) -> Tensor:
        """Sum of \\|w\\|."""
        return w.abs().sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Soft threshold: sign(x) max(\\|x\\| - step, 0)."""
        return softshrink(x, step)
