r"""The papers' shape of a penalty, which grows with its threshold: :math:`\tau^2 r(v / \tau)`.

Fan and Li 2001 and Zhang 2010 write SCAD and MCP as p_lambda(v) = lambda^2 r(v / lambda), with kinks at lambda and
a lambda. Bui, Park, Zhang, Qi and Xin, "Structured sparsity of convolutional neural networks via nonconvex sparse
group regularization", Front. Appl. Math. Stat. 6, 2021, use their proxes with lambda = tau = lambda / beta.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from compressor.penalties.kinds import Penalty


@dataclass(frozen=True)
class Scaled:
    r"""The shape of ``penalty`` stretched by tau, so that its kinks move with the threshold.

    .. math:: \mathrm{prox}(x, \tau) = \arg\min_v\ \tau^2 r(v/\tau) + (v-x)^2/2 = \tau\,\mathrm{prox}_r(x/\tau, 1)

    tau >= 0; at 0 nothing is penalised. Only the scaled problem at step 1 is ever solved, so that it is convex for
    every tau or for none. For l1 and l1-l2, which are homogeneous of degree 1, the shape is that of the penalty itself.
    """

    penalty: Penalty

    degree: ClassVar[None] = None

    @property
    def separable(self) -> bool:
        """That of the penalty."""
        return self.penalty.separable

    @property
    def convex_up_to(self) -> float:
        """inf when the penalty is convex at step 1, else 0."""
        return inf if self.penalty.convex_up_to >= 1 else 0.0

    def value(self, w: Tensor, tau: float = 1.0) -> Tensor:
        """tau^2 r(w / tau), a scalar; 0 at tau = 0."""
        return tau**2 * self.penalty.value(w / tau) if tau else self.penalty.value(w) * 0

    def prox(self, x: Tensor, tau: float) -> Tensor:
        """tau times the prox of x / tau at step 1; x itself, copied, at tau = 0."""
        return self.penalty.prox(x / tau, 1.0).mul_(tau) if tau else x.clone()
