"""The group penalty of method budget: phi on the norms of whole channels, trimmed to those not selected."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from compressor.channels import vanishing_tensors
from compressor.groups import ChannelGroup
from compressor.penalties import SeparablePenalty
from compressor.splitting.copies import Share

# A channel whose norm was zero when it was selected to go must be comparable all the same.
LEAST = 1e-12
TINY = torch.finfo(torch.float32).tiny


class Channels:
    """U_g = the prox of a group penalty at W_g, for every channel g of all groups at once.

    Channels selected to survive carry no penalty (a trimmed penalty: Bertsimas, Copenhaver and Mazumder, "The
    trimmed lasso", 2017). The others carry lambda_g phi(|U_g| / L_g), L_g the norm at which the channel would have
    been selected and lambda_g such that U_g = 0 up to L_g. `keep_best` sets L_g, which then stays.

    All rows of all penalised parameters are numbered through, so that a step takes one norm and one product a
    parameter and a few operations on the vector of all rows. Nothing is read back to the host.
    """

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], phi: SeparablePenalty) -> None:
        self._phi, self._step = phi, step_of_threshold_one(phi)
        starts = [0, *accumulate(group.channels for group in groups)]
        self._channels = [slice(a, b) for a, b in pairwise(starts)]
        axes: dict[Tensor, int] = {}
        owners: dict[Tensor, Tensor] = {}
        for group, start in zip(groups, starts, strict=False):
            for parameter, member, axis in vanishing_tensors(model, group):
                axes[parameter] = axis
                # Rows of no group belong to one channel more, which always survives.
                owner = owners.setdefault(parameter, torch.full((parameter.shape[axis],), starts[-1]))
                owner[member.index.cpu()] = start + torch.arange(group.channels)[:, None]
        # One-dimensional parameters last: they are their own norms.
        self.parameters: list[Tensor] = sorted(axes, key=lambda parameter: parameter.ndim == 1)
        self._axes = [axes[parameter] for parameter in self.parameters]
        self._wide = [(p, [dim for dim in range(p.ndim) if dim != axes[p]]) for p in self.parameters if p.ndim > 1]
        self._narrow = [p for p in self.parameters if p.ndim == 1]
        self._owner = torch.cat([owners[parameter] for parameter in self.parameters])
        # Below zero: survives. Nothing is penalised until a selection is made.
        self._set(torch.full((starts[-1] + 1,), -1.0))
        self._place(torch.device("cpu"))

    def keep_best(self, scores: Sequence[Tensor], kept: Sequence[int]) -> None:
        """Let the ``kept[i]`` channels with the highest ``scores[i]`` of every group i survive."""
        norms = self.norms()
        limit = torch.full_like(self._limit, -1.0)
        for part, score, count in zip(self._channels, scores, kept, strict=True):
            if count < len(score):
                ranked, order = score.to(norms).sort(descending=True)
                gone = order[count:]
                # Between the last survivor and the first casualty, in units of each channel's own norm.
                cut = (ranked[count - 1] * ranked[count]).sqrt()
                there = norms[part][gone] * (cut / ranked[count:].clamp_min(torch.finfo(ranked.dtype).tiny)).sqrt()
                # Ties and rounding must not change how many survive.
                limit[part][gone] = torch.fmax(there, norms[part][gone] * (1 + 1e-6)).clamp_min(LEAST)
        self._set(limit)

    def pull(self, share: Share) -> None:
        """W <- W + k (U - W), in place, with the k of each parameter."""
        shrunk = self._shrunk()
        if isinstance(share, float):
            torch.index_select(torch.lerp(self._ones, shrunk, share), 0, self._owner, out=self._factor)
        else:
            torch.index_select(shrunk, 0, self._owner, out=self._factor)
            torch._foreach_sub_(self._views, 1.0)
            torch._foreach_mul_(self._views, [share.get(parameter, 0.0) for parameter in self.parameters])
            torch._foreach_add_(self._views, 1.0)
        torch._foreach_mul_(self.parameters, self._views)

    def reference_pull(self, share: Share) -> None:
        """What `pull` does, one row at a time: the readable definition that the tests hold it to."""
        norms, start = self.norms(), 0
        for parameter, axis in zip(self.parameters, self._axes, strict=True):
            k = share if isinstance(share, float) else share.get(parameter, 0.0)
            for row, w in enumerate(parameter.unbind(axis)):
                channel = self._owner[start + row]
                norm, limit = norms[channel], self._limit[channel]
                if limit >= 0 and norm > 0:
                    u = w * (limit * self._phi.prox(norm / limit, self._step) / norm)
                    w.add_(u - w, alpha=k)
            start += parameter.shape[axis]

    def gap(self) -> tuple[Tensor, Tensor]:
        """Squared norm of what projection would remove, and of everything."""
        squared = self.norms().square()[:-1]
        return (squared * (self._shrunk()[:-1] == 0)).sum(), squared.sum()

    def dropped(self) -> list[Tensor]:
        """Which channels of every group U sets to zero: bool (channels,) on the CPU."""
        gone = self._shrunk() == 0
        return [gone[part].cpu() for part in self._channels]

    @torch.no_grad()
    def norms(self) -> Tensor:
        """Norm of every channel over all that must vanish with it: (channels of all groups + 1,) float32."""
        device = self.parameters[0].device
        if device != self._owner.device:
            self._place(device)
        wide = [vector_norm(parameter, dim=rest, dtype=torch.float32) for parameter, rest in self._wide]
        rows = torch.cat([*wide, *self._narrow])
        squared = torch.zeros_like(self._limit).index_add_(0, self._owner, rows.square_())
        return squared.sqrt_()

    def _shrunk(self) -> Tensor:
        """|U_g| / |W_g| of every channel: 1 where it survives."""
        relative = self.norms().div_(self._scale)
        ratio = self._phi.prox(relative, self._step).div_(relative.add_(TINY))
        return torch.where(self._free, 1.0, ratio)

    def _set(self, limit: Tensor) -> None:
        self._limit, self._scale, self._free = limit, limit.clamp_min(LEAST), limit < 0
        self._ones = torch.ones_like(limit)

    def _place(self, device: torch.device) -> None:
        """Move what belongs to the rows to ``device``; the user may move the model after the start."""
        self._owner = self._owner.to(device)
        self._set(self._limit.to(device))
        self._factor = torch.ones(len(self._owner), device=device)
        sizes = [parameter.shape[axis] for parameter, axis in zip(self.parameters, self._axes, strict=True)]
        self._views = [
            part.view([-1 if dim == axis else 1 for dim in range(parameter.ndim)])
            for part, parameter, axis in zip(torch.split(self._factor, sizes), self.parameters, self._axes, strict=True)
        ]


def step_of_threshold_one(phi: SeparablePenalty) -> float:
    """The step whose prox sends everything up to 1 to zero, and nothing above."""
    low, high = 0.0, 1.0
    while phi.threshold(high) < 1:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if phi.threshold(middle) < 1 else (low, middle)
    return high
