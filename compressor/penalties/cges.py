r"""Combined group and exclusive sparsity, the comparator of the papers.

Yoon and Hwang, "Combined group and exclusive sparsity for deep neural networks", ICML 2017, with mu on the
exclusive part, as Bui, Park, Zhang, Qi and Xin (Front. Appl. Math. Stat. 6, 2021) have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.linalg import vector_norm

from compressor.penalties.group import unit
from compressor.penalties.options import Options, option


@dataclass(frozen=True)
class Cges(Options):
    r"""Group lasso and competition within channels; subgradient only.

    .. math:: R(W) = (1-\mu) \sum_g \|w_g\|_2 + \frac{\mu}{2} \sum_g \|w_g\|_1^2

    0 <= mu <= 1; mu = 0 is the group lasso. Convex for every step. There is no prox: that of each part is known, but
    the two do not commute and the prox of their sum has no closed form. Yoon and Hwang 2017 apply one after the other,
    which solves another problem. Rows are (groups, entries).
    """

    name: ClassVar[str] = "cges"

    mu: float = option(0.5, allowed="in [0, 1]", holds=lambda mu: 0 <= mu <= 1)

    def value(self, rows: Tensor) -> Tensor:
        """The formula of the class, a scalar."""
        grouped = vector_norm(rows, dim=1).sum()
        exclusive = rows.abs().sum(dim=1).square().sum()
        value: Tensor = (1 - self.mu) * grouped + self.mu / 2 * exclusive
        return value

    @staticmethod
    def at_depth(share: float) -> dict[str, float]:
        """The options for a layer that ``share`` of the layers precede: Bui et al. let the exclusive part grow."""
        return {"mu": share}

    def weight(self, entries: int) -> float:
        """1: Bui et al. weight no row by its length."""
        return 1.0

    def subgradient(self, rows: Tensor) -> Tensor:
        """(1 - mu) row / \\|\\|row\\|\\| + mu \\|\\|row\\|\\|_1 sign(row), and 0 for a zero row: (groups, entries)."""
        return (1 - self.mu) * unit(rows) + self.mu * rows.abs().sum(dim=1, keepdim=True) * rows.sign()
