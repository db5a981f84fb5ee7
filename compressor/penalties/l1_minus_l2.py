r"""l1 minus l2: :math:`r(w) = \|w\|_1 - \alpha \|w\|_2` over the whole tensor, 0 <= alpha <= 1.

Lou and Yan, "Fast L1-L2 minimization via a proximal operator", J. Sci. Comput. 74, 2018, lemma 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from compressor.errors import UsageError


@dataclass(frozen=True)
class L1MinusL2:
    """Soft threshold that gives back some of the norm it took; ``alpha`` = 0 is l1."""

    alpha: float = 1.0
    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"alpha of l1-l2 must lie in [0, 1], got {self.alpha}")

    def value(self, w: Tensor) -> Tensor:
        """l1 norm minus alpha times the l2 norm."""
        norm: Tensor = torch.linalg.vector_norm(w)
        return w.abs().sum() - self.alpha * norm

    def prox(self, x: Tensor, step: float) -> Tensor:
        """Soft threshold rescaled to its norm plus alpha step; one entry survives when none exceeds step."""
        soft = x - x.clamp(-step, step)
        norm = torch.linalg.vector_norm(soft)
        # No branch on values: reading them would make a GPU wait for the host.
        rescaled = soft * ((norm + self.alpha * step) / norm.clamp_min(torch.finfo(x.dtype).tiny))
        return torch.where(norm > 0, rescaled, self._one_sparse(x, step))

    def _one_sparse(self, x: Tensor, step: float) -> Tensor:
        """The largest entry alone, shrunk by (1 - alpha) step; zero when that leaves nothing."""
        flat = x.flatten()
        place = flat.abs().argmax()
        largest = flat[place]
        kept = torch.copysign((largest.abs() - (1 - self.alpha) * step).clamp_min(0), largest)
        return torch.zeros_like(flat).index_put((place,), kept).view_as(x)
