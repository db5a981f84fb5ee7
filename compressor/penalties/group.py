r"""Penalties on whole channels: :math:`\sum_g \phi(\|w_g\|_2)` for any scalar penalty phi.

The prox of a function of the norm acts along the row: it is row * prox_phi(||row||) / ||row||. Yuan and Lin, "Model
selection and estimation in regression with grouped variables", JRSS B 68(1), 2006, for phi = l1; Breheny and Huang,
"Group descent algorithms for nonconvex penalized linear and logistic regression models with grouped predictors", Stat.
Comput. 25, 2015, for the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.linalg import vector_norm

from compressor.penalties.kinds import Penalty
from compressor.penalties.l1 import L1


@dataclass(frozen=True)
class NormPenalty:
    r"""``phi`` of the norm of each row, so that whole rows vanish together.

    .. math:: R(W) = \sum_g \phi(\|w_g\|_2), \quad
              \mathrm{prox}(w_g) = \mathrm{prox}_\phi(\|w_g\|_2)\, w_g / \|w_g\|_2

    Parameters, convexity bound, threshold (on the norm) and degree are those of phi. Rows are (groups, entries); a zero
    row stays zero. Breheny and Huang 2015.
    """

    phi: Penalty

    def value(self, rows: Tensor) -> Tensor:
        """Sum of phi over the norms of the rows, a scalar."""
        return self.phi.value(vector_norm(rows, dim=1))

    def prox(self, rows: Tensor, step: float) -> Tensor:
        """A new tensor: the minimiser over v of ``step * value(v) + ||v - rows||^2 / 2``, step >= 0."""
        norms = norms_of(rows)
        share = self.phi.prox(norms, step) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        # No penalty here moves a row that is longer than its type can say by as much as rounding does.
        return rows * torch.where(norms.isinf(), 1, share).to(rows)


@dataclass(frozen=True)
class GroupLasso(NormPenalty):
    r"""Shrinks the norm of every channel by the same amount.

    .. math:: R(W) = \|W\|_{2,1} = \sum_g \|w_g\|_2

    No parameters; convex for every step. Weights such as the papers' sqrt(n_g) are the caller's. Yuan and Lin 2006,
    eq. 2.1.
    """

    phi: Penalty = field(default=L1(), init=False)

    @staticmethod
    def at_depth(share: float) -> dict[str, float]:
        """The options for a layer that ``share`` of the layers precede: the same for all."""
        return {}

    def weight(self, entries: int) -> float:
        """The papers' weight of a row of that length: its square root."""
        return float(entries**0.5)

    def subgradient(self, rows: Tensor) -> Tensor:
        """row / \\|\\|row\\|\\|, and 0 for a zero row: (groups, entries)."""
        return unit(rows)


def norms_of(rows: Tensor) -> Tensor:
    """The norm of every row, (groups, 1), in at least 32 bits: in 16 the squares of usual weights overflow."""
    norms: Tensor = vector_norm(rows, dim=1, keepdim=True, dtype=torch.promote_types(rows.dtype, torch.float32))
    return norms


def unit(rows: Tensor) -> Tensor:
    """Every row divided by its norm; a zero row stays zero."""
    norms = norms_of(rows)
    return (rows / norms.clamp_min(torch.finfo(norms.dtype).tiny)).to(rows)
