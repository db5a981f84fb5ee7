"""Which channels survive a budget: the most salient ones, in the largest aligned network that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from compressor.alignment import Alignment
from compressor.costs import CostModel, Kind
from compressor.errors import UsageError


@dataclass(frozen=True)
class Target:
    """Keep at most ``ratio`` of the dense network's MACs or parameters."""

    kind: Kind
    ratio: float

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise UsageError(f"--target-{self.kind} must lie in (0, 1], got {self.ratio:g}")

    def __str__(self) -> str:
        return f"--target-{self.kind} {self.ratio:g}"


@dataclass(frozen=True)
class Budget:
    """Decides how many channels of each group are kept within a share of the dense cost."""

    cost: CostModel
    alignment: Alignment

    @property
    def least(self) -> list[int]:
        """Channels per group of the smallest aligned network."""
        return [self.alignment.up(1, int(channels)) for channels in self.cost.channels]

    def ratio(self, kept: Sequence[int]) -> float:
        """Cost of the network with ``kept`` channels per group, as a share of the dense cost."""
        return self.cost.total(kept) / self.cost.total()

    def allocate(self, scores: Sequence[Tensor], ratio: float) -> list[int]:
        """How many channels each group keeps: (groups,) ints.

        ``scores`` holds one (channels,) tensor per group. From the smallest aligned network upwards,
        the best remaining channel of all groups raises its group by a whole step as long as the
        result costs at most ``ratio`` of the dense network; a group that no longer fits stays.
        """
        kept = np.array(self.least)
        owners = np.concatenate([np.full(len(s), g) for g, s in enumerate(scores)])
        order = torch.argsort(torch.cat(list(scores)), descending=True, stable=True)
        seen, closed = np.zeros_like(kept), np.zeros(len(kept), dtype=bool)
        for group in owners[order.numpy()]:
            seen[group] += 1
            if closed[group] or seen[group] <= kept[group]:
                continue
            raised = kept.copy()
            raised[group] = self.alignment.up(int(seen[group]), int(self.cost.channels[group]))
            if self.ratio(raised.tolist()) <= ratio:
                kept = raised
            else:
                closed[group] = True
        return [int(count) for count in kept]
