"""A number drawn for each channel: what every other saliency must beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressor.groups import ChannelGroup
from compressor.saliency.base import Saliency


class Random(Saliency):
    """Uniform in [0, 1), drawn once from ``seed``."""

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], seed: int = 0) -> None:
        super().__init__(model, groups, seed)
        generator = torch.Generator().manual_seed(seed)
        self._drawn = [torch.rand(group.channels, generator=generator) for group in groups]

    def values(self) -> list[Tensor]:
        """What was drawn."""
        return self._drawn
