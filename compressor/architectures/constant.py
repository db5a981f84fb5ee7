"""What is left of a residual branch in which every channel died: what it adds, one number per channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """The same numbers whatever comes in: ``channels`` of them, followed by ``trailing`` dimensions of size 1."""

    def __init__(self, channels: int, trailing: int) -> None:
        super().__init__()
        if trailing > 3:
            raise TypeError(f"a constant has at most 3 trailing dimensions, got {trailing}")
        self.channels = channels
        self.trailing = trailing
        self.value = nn.Parameter(torch.zeros(channels, *(1,) * trailing))

    def forward(self, x: Tensor) -> Tensor:
        """Anything -> (1, channels, 1, ...): it spreads over whatever it is added to."""
        return self.value[None]
