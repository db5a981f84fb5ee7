r"""l1 minus l2: :math:`r(w) = \|w\|_1 - \alpha \|w\|_2`, over the whole tensor or over each output channel.

Lou and Yan, "Fast L1-L2 minimization via a proximal operator", J. Sci. Comput. 74, 2018, lemma 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import softshrink

from compressor.penalties.options import Options, option


@dataclass(frozen=True)
class L1MinusL2(Options):
    r"""Like l1, but gives back the norm it took; ``alpha`` = 0 is l1.

    .. math:: r(w) = \|w\|_1 - \alpha \|w\|_2

    0 <= alpha <= 1. ``over`` says what the norm runs over: the whole tensor, or each output channel (a row of
    dimension 0), whose penalties are then added. With the soft threshold z of x, prox(x) = z (\|z\| + alpha step) /
    \|z\|; where z is zero, only the largest entry of x is kept, shrunk by (1 - alpha) step. Convex for no step unless
    alpha is 0: close to zero the l2 norm bends without bound. Lou and Yan 2018, lemma 1.
    """

    name: ClassVar[str] = "l1-l2"
    separable: ClassVar[bool] = False
    degree: ClassVar[float] = 1.0

    alpha: float = option(1.0, allowed="in [0, 1]", holds=lambda alpha: 0 <= alpha <= 1)
    over: str = option("tensor", allowed="tensor or channel", holds=lambda over: over in ("tensor", "channel"))

    @property
    def convex_up_to(self) -> float:
        """0, or inf without an l2 norm."""
        return 0.0 if self.alpha else inf

    def value(self, w: Tensor) -> Tensor:
        """l1 norm minus alpha times the l2 norm, or its sum over the output channels."""
        return w.abs().sum() - self.alpha * self._norms(w).sum()

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Soft threshold rescaled to its norm plus alpha step; one entry survives when none exceeds step."""
        soft = softshrink(x, step)
        if self.alpha == 0:
            return soft
        norms = self._norms(soft)
        # Reading a value would make a GPU wait for the host, so there the rare case is always computed.
        if x.device.type == "cpu":
            if norms.numel() == 1 and norms.item() > 0:
                return soft.mul_(1 + self.alpha * step / norms.item())
            if norms.all():
                return soft.mul_(1 + self.alpha * step / norms)
        alive = norms > 0
        soft.mul_(torch.where(alive, 1 + self.alpha * step / norms, 0))
        return torch.where(alive, soft, self._one_sparse(x, step))

    def prox_each(self, xs: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
        """`prox` of every tensor with its own step, in fewer calls when there are many small ones."""
        if self.over == "tensor" and all(x.device.type == "cpu" for x in xs):
            soft = [softshrink(x, step) for x, step in zip(xs, steps, strict=True)]
            norms = torch.stack(torch._foreach_norm(soft))
            if norms.all():
                longer = 1 + self.alpha * torch.tensor(steps) / norms
                torch._foreach_mul_(soft, longer.unbind())
                return soft
        return [self.prox(x, step) for x, step in zip(xs, steps, strict=True)]

    def _one_sparse(self, x: Tensor, step: float) -> Tensor:
        """The largest entry of each row alone, shrunk by (1 - alpha) step: in the shape of ``x``."""
        rows = x.reshape(1 if self.over == "tensor" else len(x), -1)
        place = rows.abs().argmax(dim=1, keepdim=True)
        kept = softshrink(rows.gather(1, place), (1 - self.alpha) * step)
        return torch.zeros_like(rows).scatter_(1, place, kept).view_as(x)

    def _norms(self, x: Tensor) -> Tensor:
        """The l2 norm of each row, against which ``x`` broadcasts."""
        if self.over == "channel" and x.ndim == 1:
            return x.abs()
        norms: Tensor = vector_norm(x, dim=tuple(range(self.over == "channel", x.ndim)), keepdim=True)
        return norms
