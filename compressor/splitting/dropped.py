"""U of method budget: W without the channels that the budget does not select."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from compressor.channels import vanishing_tensors
from compressor.groups import ChannelGroup
from compressor.shards import along, local


class DroppedChannels:
    """U_g = 0 for every dropped channel g and U_g = W_g for the others.

    That is the prox of the trimmed group l0, the l0 of the norms of all channels but the selected ones (a trimmed
    penalty: Bertsimas, Copenhaver and Mazumder, "The trimmed lasso", 2017), and the projection on the networks that
    keep these channels alone. Trimmed, every other penalty selects the same and differs in nothing.

    All rows of all penalised parameters are numbered through, so that a pull is one product a parameter and one
    operation on the vector of all rows. Nothing is read back to the host. Where parameters lie in shards these are the
    rows that the rank holds, and nothing is exchanged.
    """

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup]) -> None:
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
        self.parameters: list[Tensor] = list(axes)
        self._axes = [axes[parameter] for parameter in self.parameters]
        held = [along(owners[parameter], parameter, axes[parameter]) for parameter in self.parameters]
        self._owner = torch.cat(held)
        self._gone = torch.zeros(starts[-1] + 1)
        self._place(torch.device("cpu"))

    def keep_best(self, scores: Sequence[Tensor], kept: Sequence[int]) -> None:
        """Drop all but the ``kept[i]`` channels with the highest ``scores[i]`` of every group i."""
        self.set(beyond_best(scores, kept))

    def set(self, dropped: Sequence[Tensor]) -> None:
        """Drop these channels of every group: bool (channels,) each."""
        for part, gone in zip(self._channels, dropped, strict=True):
            self._gone[part] = gone.to(self._gone)

    def dropped(self) -> list[Tensor]:
        """Which channels of every group are dropped: bool (channels,) on the CPU."""
        return [self._gone[part].cpu() > 0 for part in self._channels]

    def pull(self, share: float) -> None:
        """W <- W + share (U - W), in place."""
        self._follow()
        torch.index_select(1 - share * self._gone, 0, self._owner, out=self._factor)
        torch._foreach_mul_([local(parameter) for parameter in self.parameters], self._views)

    def reference_pull(self, share: float) -> None:
        """What `pull` does, one row at a time: the readable definition that the tests hold it to."""
        self._follow()
        start = 0
        for parameter, axis in zip(self.parameters, self._axes, strict=True):
            for row, w in enumerate(local(parameter).unbind(axis)):
                u = torch.zeros_like(w) if self._gone[self._owner[start + row]] else w.clone()
                w.add_(u - w, alpha=share)
            start += local(parameter).shape[axis]

    def _follow(self) -> None:
        """The user may move the model after the start."""
        if self.parameters[0].device != self._owner.device:
            self._place(self.parameters[0].device)

    def _place(self, device: torch.device) -> None:
        self._owner, self._gone = self._owner.to(device), self._gone.to(device)
        self._factor = torch.ones(len(self._owner), device=device)
        sizes = [local(parameter).shape[axis] for parameter, axis in zip(self.parameters, self._axes, strict=True)]
        self._views = [
            part.view([-1 if dim == axis else 1 for dim in range(parameter.ndim)])
            for part, parameter, axis in zip(torch.split(self._factor, sizes), self.parameters, self._axes, strict=True)
        ]


def beyond_best(scores: Sequence[Tensor], kept: Sequence[int]) -> list[Tensor]:
    """All but the ``kept[i]`` channels with the highest ``scores[i]`` of every group i: bool (channels,) each."""
    gone = []
    for score, count in zip(scores, kept, strict=True):
        order = score.argsort(descending=True, stable=True)
        gone.append(torch.ones(len(score), dtype=torch.bool).index_fill_(0, order[:count].cpu(), False))
    return gone
