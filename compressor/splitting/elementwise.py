"""The elementwise penalty on one weight tensor, in units of its RMS at the start."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from compressor.penalties import Penalty


class Elementwise:
    """V = prox of (lambda/beta) r at W, where W is measured in units of its starting RMS.

    lambda stays fixed while beta grows, so the threshold falls as V and W close up: with a fixed threshold
    lambda would grow without bound, and a convex penalty would shrink every weight to nothing.
    """

    def __init__(self, weight: Tensor, penalty: Penalty, lam: float) -> None:
        self.weight = weight
        self.penalty = penalty
        self.lam = lam
        self._unit = weight.detach().square().mean().sqrt().clamp_min(torch.finfo(weight.dtype).tiny)

    @property
    def parameters(self) -> list[Tensor]:
        """The one parameter that is penalised."""
        return [self.weight]

    def pull(self, share: Mapping[Tensor, float], beta: float) -> None:
        """W <- W + k (V - W), in place."""
        self.weight.lerp_(self._v(beta), share.get(self.weight, 0.0))

    def gap(self, beta: float) -> tuple[Tensor, Tensor]:
        """Squared norm of what projection would remove, and of everything."""
        squared = self.weight.detach().square()
        return (squared * (self._v(beta) == 0)).sum(), squared.sum()

    def project(self, beta: float) -> int:
        """Set W to zero where V is; returns how many entries became zero."""
        dead = (self._v(beta) == 0) & (self.weight != 0)
        self.weight.masked_fill_(dead, 0.0)
        return int(dead.sum())

    def _v(self, beta: float) -> Tensor:
        return self.penalty.prox(self.weight.detach() / self._unit, self.lam / beta) * self._unit
