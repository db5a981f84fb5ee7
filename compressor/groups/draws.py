"""Random channels of groups, of each another share: what goes well for equal shares may fail for others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from compressor.channels import ChannelGroup, ties

SHARES = (0.1, 0.7)


def drawn(groups: Sequence[ChannelGroup], generator: torch.Generator, *, beside: bool = False) -> dict[str, Tensor]:
    """Places of every group by its name, of tied groups equally many, but never all: (count,), sorted.

    At random, or with ``beside`` such as lie side by side, since code may rely on where channels go.
    """
    low, high = SHARES
    places: dict[str, Tensor] = {}
    for tie in ties(groups):
        share = low + (high - low) * float(torch.rand((), generator=generator))
        for group in (groups[place] for place in tie):
            every = _run(group.channels, generator) if beside else torch.randperm(group.channels, generator=generator)
            places[group.name] = every[: min(group.channels - 1, math.ceil(share * group.channels))].sort().values
    return places


def _run(channels: int, generator: torch.Generator) -> Tensor:
    return torch.arange(channels).roll(int(torch.randint(channels, (), generator=generator)))
