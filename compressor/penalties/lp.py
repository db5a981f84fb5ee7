r"""The lp quasi-norm: :math:`r(w) = \sum_i |w_i|^p` for the two p whose prox has a closed form, 1/2 and 2/3.

p = 1/2: Xu, Chang, Xu and Zhang, "L1/2 regularization: a thresholding representation theory and a fast solver",
IEEE Trans. Neural Netw. Learn. Syst. 23(7), 2012.
p = 2/3: Cao, Sun and Xu, "Fast image deconvolution using closed-form thresholding formulas of Lq (q = 1/2, 2/3)
regularization", J. Vis. Commun. Image Represent. 24(1), 2013.
Both minimise (v - x)^2 + lambda |v|^p, so that their lambda is 2 step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar

import torch
from torch import Tensor

from compressor.penalties.options import Elementwise, option


@dataclass(frozen=True)
class Lp(Elementwise):
    r"""Zeroes small weights and hardly shrinks large ones.

    .. math:: r(w) = \sum_i |w_i|^p

    p is 1/2 or 2/3. Convex for no step: the slope at zero is infinite. The prox jumps from 0 to
    :math:`v_0 = (2\,step\,(1-p))^{1/(2-p)}` at :math:`|x| = v_0 (2-p)/(2-2p)`. Xu et al. 2012;
    Cao, Sun and Xu 2013.
    """

    name: ClassVar[str] = "lp"
    separable: ClassVar[bool] = True
    convex_up_to: ClassVar[float] = 0.0

    p: float = option(1 / 2, allowed="1/2 or 2/3", holds=lambda p: p in (1 / 2, 2 / 3))

    @property
    def degree(self) -> float:
        """The exponent p."""
        return self.p

    def threshold(self, step: float) -> float:
        """Where the prox jumps: 3/2 step^(2/3), or 2 (2/3 step)^(3/4)."""
        landing = (2 * step * (1 - self.p)) ** (1 / (2 - self.p))
        return float(landing * (2 - self.p) / (2 - 2 * self.p))

    def value(self, w: Tensor) -> Tensor:
        """Sum of \\|w\\|^p."""
        size = w.abs()
        # Zero has a share of 0 in the sum and, where its slope is infinite, of 0 in the gradient.
        return torch.where(size > 0, size, 1).pow(self.p).mul(size > 0).sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """0 up to the threshold, then the largest stationary point."""
        size, threshold = x.abs(), self.threshold(step)
        # r is homogeneous, so that threshold / |x| alone says which share of x is kept.
        ratio = size.clamp_min(torch.finfo(x.dtype).tiny).reciprocal_().mul_(threshold).clamp_max_(1)
        share = _half(ratio) if self.p == 1 / 2 else _two_thirds(ratio)
        return share.mul_(x).masked_fill_(size <= threshold, 0)


def _half(ratio: Tensor) -> Tensor:
    """The share of x that is kept, 2/3 (1 + cos(2 pi / 3 - 2 phi / 3)) with cos phi = ratio^(3/2) / sqrt 2.

    Overwrites ``ratio``. Written with h = (pi / 2 - phi) / 3, which loses no digits where x is hardly shrunk.
    """
    h = ratio.pow_(1.5).div_(sqrt(2)).asin_().div_(3)
    return (h + pi / 3).sin_().mul_(h.sin_()).mul_(-4 / 3).add_(1)


def _two_thirds(ratio: Tensor) -> Tensor:
    """The share of x that is kept, ((A + sqrt(2 / A - A^2)) / 2)^3 for x = 1.

    Overwrites ``ratio``. A^2 is the real root of z^3 - 4 q z - 1 with (4 q / 3)^3 = 4/27 ratio^4: by roots instead of
    the paper's hyperbolic cosines, which overflow where x is hardly shrunk.
    """
    cube = ratio.pow_(4).mul_(4 / 27)
    root = (0.25 - cube).sqrt_().add_(0.5).pow_(1 / 3)
    square = cube.pow_(1 / 3).div_(root).add_(root)
    a = square.sqrt()
    return a.reciprocal().mul_(2).sub_(square).sqrt_().add_(a).div_(2).pow_(3)
