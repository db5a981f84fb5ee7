"""The squared norm of the weights that make a channel (Li et al., "Pruning filters for efficient ConvNets", 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from compressor.channels import vanishing_tensors
from compressor.groups import ChannelGroup
from compressor.saliency.base import Saliency, relative
from compressor.saliency.sums import per_channel
from compressor.shards import whole


class Magnitude(Saliency):
    """Relative to the mean of the group; a norm behind the channel is not looked at."""

    def values(self) -> list[Tensor]:
        """The squared norms of all producers together."""
        return [relative(torch.stack(self._norms(group)).sum(0)) for group in self.groups]

    def _norms(self, group: ChannelGroup) -> list[Tensor]:
        return [
            per_channel(whole(parameter.detach()).square(), axis, member.index)
            for parameter, member, axis in vanishing_tensors(self.model, group)
            if member.role == "producer"
        ]
