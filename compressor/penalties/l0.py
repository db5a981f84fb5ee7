r"""The counting penalty: :math:`r(w) = \#\{i : w_i \ne 0\}`; its prox is the hard threshold.

Blumensath and Davies, "Iterative thresholding for sparse approximations", J. Fourier Anal. Appl. 14, 2008.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class L0:
    """Number of non-zero weights; zeroes small weights and leaves the others alone."""

    separable: ClassVar[bool] = True

    def value(self, w: Tensor) -> Tensor:
        """Number of non-zero entries, in the dtype of ``w``."""
        return (w != 0).sum().to(w.dtype)

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Hard threshold: x where \\|x\\| > sqrt(2 step), else 0."""
        return x * (x.abs() > sqrt(2 * step))
