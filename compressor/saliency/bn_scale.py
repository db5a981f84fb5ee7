"""The squared scale of the norms behind a channel (Liu et al., "Network slimming", 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressor.channels import vanishing_tensors
from compressor.errors import UsageError
from compressor.groups import ChannelGroup
from compressor.layer_kinds import NORMS
from compressor.saliency.base import Saliency, relative
from compressor.saliency.sums import per_channel
from compressor.shards import whole


class BnScale(Saliency):
    """Relative to the mean of the group; `UsageError` for a group without such a norm."""

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], seed: int = 0) -> None:
        super().__init__(model, groups, seed)
        without = next((group.name for group in groups if not self._scales(group)), None)
        if without is not None:
            raise UsageError(
                f"--saliency bn-scale needs a norm with weights behind every channel; {without} has none; use taylor"
            )

    def values(self) -> list[Tensor]:
        """The squared scales of all norms of the channel together."""
        return [relative(torch.stack(self._scales(group)).sum(0)) for group in self.groups]

    def _scales(self, group: ChannelGroup) -> list[Tensor]:
        return [
            per_channel(whole(parameter.detach()).square(), axis, member.index)
            for parameter, member, axis in vanishing_tensors(self.model, group)
            if member.role == "norm"
            and isinstance(norm := self.model.get_submodule(member.module), NORMS)
            and parameter is norm.weight
        ]
