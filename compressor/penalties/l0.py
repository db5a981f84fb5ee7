r"""The counting penalty: :math:`r(w) = \#\{i : w_i \ne 0\}`; its prox is the hard threshold.

Blumensath and Davies, "Iterative thresholding for sparse approximations", J. Fourier Anal. Appl. 14, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import hardshrink

from compressor.penalties.options import Elementwise


@dataclass(frozen=True)
class L0(Elementwise):
    r"""Zeroes small weights and leaves the others alone.

    .. math:: r(w) = \#\{i : w_i \ne 0\}, \quad \mathrm{prox}(x) = x\,[\,|x| > \sqrt{2\,step}\,]

    No parameters; convex for no step. Blumensath and Davies 2008.
    """

    name: ClassVar[str] = "l0"
    separable: ClassVar[bool] = True
    degree: ClassVar[float] = 0.0
    convex_up_to: ClassVar[float] = 0.0

    def threshold(self, step: float) -> float:
        """sqrt(2 step), where half the square of a weight equals what it costs."""
        return sqrt(2 * step)

    def value(self, w: Tensor) -> Tensor:
        """Number of non-zero entries, in the dtype of ``w``."""
        return (w != 0).sum().to(w.dtype)

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Hard threshold: x where \\|x\\| > sqrt(2 step), else 0."""
        return hardshrink(x, self.threshold(step))
