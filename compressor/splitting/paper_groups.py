"""The papers' own groups: rows of single weight tensors, penalised one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import torch
from torch import Tensor

from compressor.methods import Rows
from compressor.penalties import GroupPenalty, Subgradient
from compressor.records import Sparsity
from compressor.shards import whole


def as_rows(weight: Tensor, kind: Rows) -> Tensor:
    """The groups of a weight tensor as rows (groups, n), without copying where that can be.

    "filters": the filters of a convolution and the input units of a linear layer, as Bui et al. count neurons;
    "input channels" of either. Weights of transposed convolutions are not told apart: their axis 0 is the inputs.
    """
    return weight.transpose(0, rows_axis(weight, kind)).flatten(1)


def rows_axis(weight: Tensor, kind: Rows) -> int:
    """The axis of ``weight`` along which its groups lie."""
    return int(kind == "input channels" or weight.ndim == 2)


def from_rows(rows: Tensor, weight: Tensor, kind: Rows) -> Tensor:
    """The inverse of `as_rows`, in the shape of ``weight``."""
    axis = rows_axis(weight, kind)
    return rows.view(weight.transpose(0, axis).shape).transpose(0, axis)


def prox_of_rows(penalty: GroupPenalty, kind: Rows) -> Callable[[Tensor, float], Tensor]:
    """The prox of a group penalty on the rows of a tensor, as a function of the tensor and the step."""
    return lambda w, step: from_rows(penalty.prox(as_rows(w, kind), step), w, kind)


class GroupSubgradient:
    """Adds the subgradient of a group penalty on rows to the gradient of W; never sets a weight to zero."""

    def __init__(
        self,
        weights: Sequence[Tensor],
        penalties: Sequence[Subgradient],
        kind: Rows,
        lam: float,
        *,
        weighted: bool,
    ) -> None:
        self.parameters = list(weights)
        self._penalties, self._kind, self._lam, self._weighted = list(penalties), kind, lam, weighted

    def add_gradient(self, scale: float, held: Container[Tensor]) -> None:
        """Add scale lambda w(n) times the subgradient to gradients of ``held``, w(n) the weight of n entries."""
        for weight, penalty in zip(self.parameters, self._penalties, strict=True):
            if weight in held and weight.grad is not None:
                rows = as_rows(weight.detach(), self._kind)
                factor = penalty.weight(rows.shape[1]) if self._weighted else 1.0
                added = from_rows(penalty.subgradient(rows), weight, self._kind)
                weight.grad.add_(added, alpha=scale * self._lam * factor)


@torch.no_grad()
def sparsity(tensors: Sequence[Tensor], tolerance: float = 0.0, kind: Rows = "filters") -> Sparsity:
    """Share of weights with |w| <= ``tolerance`` and of groups whose mean |w| is: as Bui et al. measure it."""
    zeros = weights = dead = groups = 0
    for tensor in tensors:
        rows = as_rows(whole(tensor.detach()), kind).abs()
        zeros, weights = zeros + int((rows <= tolerance).sum()), weights + rows.numel()
        dead, groups = dead + int((rows.mean(1) <= tolerance).sum()), groups + len(rows)
    return Sparsity(weights=zeros / max(1, weights), groups=dead / max(1, groups))
