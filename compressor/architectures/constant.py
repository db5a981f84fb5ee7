"""What is left of a residual branch in which every channel died: what it adds, one number per channel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Constant(nn.Module):
    """The same numbers whatever comes in: ``channels`` of them, between dimensions of size 1.

    There are ``leading`` ones in front, that of the batch among them, and ``trailing`` ones behind. With a ``step``
    they are as large as those of what comes in, the trailing ones divided by the step, for code that writes into the
    result. In the place of a module that gives a tuple it gives one too, in which ``nones`` times None follow.
    """

    # ``nn.TransformerEncoderLayer`` asks its attention, and takes its fast path only where that is so.
    batch_first = False

    def __init__(self, channels: int, trailing: int, leading: int = 1, step: int = 0, nones: int = 0) -> None:
        super().__init__()
        for where, ones in (("leading", leading), ("trailing", trailing)):
            if ones > 3:
                raise TypeError(f"a constant has at most 3 {where} dimensions, got {ones}")
        if nones > 9:
            raise TypeError(f"a constant is followed by at most 9 times None, got {nones}")
        self.channels = channels
        self.trailing = trailing
        self.leading = leading
        self.step = step
        self.nones = nones
        self.value = nn.Parameter(torch.zeros(channels, *(1,) * trailing))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor | None, ...]:
        """Anything -> (1, ..., channels, 1, ...): it spreads over whatever it is added to."""
        value = self.value[(None,) * self.leading]
        if self.step:
            first = (*args, *kwargs.values())[0]
            value = value.expand(self.shape(first.shape, self.step)).clone()
        return (value, *[None] * self.nones) if self.nones else value

    def shape(self, given: torch.Size, step: int) -> list[int]:
        """The sizes of the result for an input of that shape."""
        behind = [-(-size // step) for size in given[self.leading + 1 :]]
        return [*given[: self.leading], self.channels, *behind]
