"""The group penalty of one channel group: l0 on the norms of whole channels, with frozen weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compressor.groups import ChannelGroup
from compressor.groups.channels import vanishing_tensors


class GroupL0:
    """U_g = W_g where |W_g|^2 > 2 lambda_g / beta, else 0: the exact prox of a weighted group l0.

    The weights lambda_g are set by `keep_best` so that exactly the wanted channels survive, and stay
    fixed until it is called again.
    """

    def __init__(self, model: nn.Module, group: ChannelGroup) -> None:
        self._slices = [
            _Slice(parameter, axis, member.index.to(parameter.device))
            for parameter, member, axis in vanishing_tensors(model, group)
        ]
        # |W_g|^2 above this survives; nothing is penalised until a selection is made.
        self._limit = torch.full_like(self._squared_norms(), -1.0)

    @property
    def parameters(self) -> list[Tensor]:
        """The parameters that this group penalises."""
        return [part.parameter for part in self._slices]

    def keep_best(self, score: Tensor, kept: int) -> None:
        """Freeze thresholds under which the ``kept`` channels with the highest ``score`` survive."""
        ranked, order = score.sort(descending=True)
        limit = torch.full_like(score, -1.0)
        if kept < len(score):
            # Between the last survivor and the first casualty, in units of each channel's own norm.
            cut = (ranked[kept - 1] * ranked[kept]).sqrt()
            norms = self._squared_norms().to(score)
            limit = norms * (cut / score.clamp_min(torch.finfo(score.dtype).tiny))
            # Ties and rounding must not change how many survive.
            best = norms[order[:kept]]
            limit[order[:kept]] = torch.where(best > 0, torch.fmin(limit[order[:kept]], 0.999 * best), -1.0)
            limit[order[kept:]] = torch.fmax(limit[order[kept:]], norms[order[kept:]])
        self._limit = limit.to(self._limit)

    def pull(self, share: Mapping[Tensor, float]) -> None:
        """W <- W + k (U - W), in place and without reading anything back to the host."""
        alive = self._alive()
        for part in self._slices:
            k = share.get(part.parameter, 0.0)
            part.scale(torch.where(alive, 1.0, 1.0 - k))

    def gap(self) -> tuple[Tensor, Tensor]:
        """Squared norm of what projection would remove, and of everything."""
        norms = self._squared_norms()
        return (norms * ~self._alive()).sum(), norms.sum()

    def dropped(self) -> Tensor:
        """Which channels U sets to zero: bool (channels,) on the CPU."""
        return ~self._alive().cpu()

    def _alive(self) -> Tensor:
        return self._squared_norms() > self._limit

    def _squared_norms(self) -> Tensor:
        return torch.stack([part.squared_norms() for part in self._slices]).sum(0)


class _Slice:
    """The rows of one parameter that belong to a group."""

    def __init__(self, parameter: nn.Parameter, axis: int, index: Tensor) -> None:
        self.parameter = parameter
        self._rest = [dim for dim in range(parameter.ndim) if dim != axis]
        self._shape = [-1 if dim == axis else 1 for dim in range(parameter.ndim)]
        self._size = parameter.shape[axis]
        self._index = index
        in_order = torch.arange(self._size, device=index.device)
        # The common case: channel c is row c.
        self._plain = index.shape == (self._size, 1) and bool((index[:, 0] == in_order).all())

    def squared_norms(self) -> Tensor:
        squared = self.parameter.detach().square()
        per_row = squared.sum(self._rest) if self._rest else squared
        return per_row.float() if self._plain else per_row.float()[self._index].sum(1)

    def scale(self, factor: Tensor) -> None:
        if not self._plain:
            rows = torch.ones(self._size, device=factor.device)
            factor = rows.index_put((self._index,), factor[:, None].expand_as(self._index))
        self.parameter.mul_(factor.to(self.parameter.dtype).view(self._shape))
