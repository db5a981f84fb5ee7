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

from compressor.penalties.options import Elementwise, option


@dataclass(frozen=True)
class L1MinusL2(Elementwise):
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

    def threshold(self, step: float) -> float:
        """The step, unless no entry exceeds it: then the largest stays."""
        return step

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Soft threshold rescaled to its norm plus alpha step; one entry survives when none exceeds step."""
        return self.prox_each([x], [step])[0]

    def prox_each(self, xs: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
        """`prox` of every tensor with its own step, in fewer calls when there are many small ones.

        On other devices than the CPU entries that tie for the largest share what is left of a tensor in which none
        exceeds its step.
        """
        if self.alpha == 0:
            return [softshrink(x, step) for x, step in zip(xs, steps, strict=True)]
        if self.over == "channel" or not all(x.numel() for x in xs):
            return [self._by_rows(x, step) for x, step in zip(xs, steps, strict=True)]
        if all(x.device.type == "cpu" for x in xs):
            return self._by_reading(xs, steps)
        return self._without_reading(xs, steps)

    def _by_reading(self, xs: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
        """The rare case, that nothing exceeds the step, is looked for and treated alone."""
        soft = [softshrink(x, step) for x, step in zip(xs, steps, strict=True)]
        norms = torch.stack(torch._foreach_norm(soft))
        if not norms.all():
            return [self._by_rows(x, step) for x, step in zip(xs, steps, strict=True)]
        longer = 1 + self.alpha * torch.tensor(steps, dtype=norms.dtype) / norms
        torch._foreach_mul_(soft, longer.unbind())
        return soft

    def _without_reading(self, xs: Sequence[Tensor], steps: Sequence[float]) -> list[Tensor]:
        """Reading a value would make a GPU wait for the host: one formula for both cases, for all tensors at once.

        The threshold is never so large that nothing is left: where no entry exceeds the step it lies just below the
        largest entry, and what is left of that is given the length that it must have.
        """
        tensors = list(xs)
        largest = torch.stack(torch._foreach_norm(tensors, ord=inf))
        limit = torch.finfo(largest.dtype)
        step = torch.tensor(steps, dtype=largest.dtype, device=largest.device)
        cut = torch.minimum(step, largest * (1 - 2 * limit.eps))
        clipped = torch._foreach_clamp_min(tensors, (-cut).unbind())
        torch._foreach_clamp_max_(clipped, cut.unbind())
        left = torch._foreach_sub(tensors, clipped)
        norms = torch.stack(torch._foreach_norm(left)).clamp_min_(limit.tiny)
        alone = (largest - (1 - self.alpha) * step).clamp_min_(0)
        length = torch.where(largest > step, norms + self.alpha * step, alone)
        torch._foreach_mul_(left, (length / norms).unbind())
        return list(left)

    def _by_rows(self, x: Tensor, step: float) -> Tensor:
        """Both cases for every row, without reading which it is."""
        soft = softshrink(x, step)
        if not x.numel():
            return soft
        norms = self._norms(soft)
        alive = norms > 0
        soft.mul_(torch.where(alive, 1 + self.alpha * step / norms, 0))
        return torch.where(alive, soft, self._one_sparse(x, step))

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
