"""The weights that come closest to wanted outputs, by ridge regression towards the weights that were there.

As in OBSPA (Wang et al., "Structurally prune anything", arXiv 2403.18955) and CORP (arXiv 2602.05243) what is removed
is made up for by what is left, linearly and in closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.reconstruction.gram import Moments


def ridge_solution(moments: Moments, old: Tensor, ridge: float) -> Tensor:
    """The W that minimises E|y - W x|^2 + ridge m |W - W_old|^2, m the mean of the diagonal of E[x x^T].

    ``old`` and the result are (groups, outputs, features). Setting the gradient to zero gives
    W = W_old + (E[y x^T] - W_old E[x x^T]) (E[x x^T] + ridge m I)^-1. With centred moments the mean of y is left to a
    bias. Where nothing arrives, the old weights stay.
    """
    scale = moments.xx.diagonal(dim1=1, dim2=2).mean(1)
    # Of what is constantly zero nothing can be learned, and no ridge makes it regular.
    damped = torch.where(scale > 0, ridge * scale, 1.0)
    regular = moments.xx + damped[:, None, None] * torch.eye(moments.xx.shape[1], dtype=moments.xx.dtype)
    missing = moments.yx - old @ moments.xx
    return old + torch.cholesky_solve(missing.mT, torch.linalg.cholesky(regular)).mT


def bias_of(moments: Moments, weight: Tensor) -> Tensor:
    """The bias (groups, outputs) with which outputs have the wanted mean; of centred moments."""
    return moments.y - _applied(weight, moments.x)


def residual(moments: Moments, weight: Tensor, bias: Tensor | None = None) -> float:
    """E|y - W x - b|^2 as a share of E|y|^2, of the variance where moments are centred; without ``bias`` the best b."""
    kept = (weight @ moments.xx - 2 * moments.yx).mul(weight).sum(2) + moments.yy
    if bias is not None:
        kept = kept + (bias_of(moments, weight) - bias).square()
    total = float(moments.yy.sum())
    return max(0.0, float(kept.sum())) / total if total > 0 else 0.0


def output_moments(moments: Moments, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of W x, (groups * outputs,) each; of centred moments."""
    variance = (weight @ moments.xx).mul(weight).sum(2).clamp_min(0)
    return _applied(weight, moments.x).flatten(), variance.flatten()


def _applied(weight: Tensor, x: Tensor) -> Tensor:
    return (weight @ x[:, :, None])[:, :, 0]
