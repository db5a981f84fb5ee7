"""Which channels survive a budget: the most salient ones, in the largest aligned network that fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
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
    """Decides how many channels of each group are kept within a share of the dense cost.

    ``ties`` are the places of the groups that keep equally many channels, together: every group is in one of them.
    ``branches`` are the places of groups that may keep none, together.
    """

    cost: CostModel
    alignment: Alignment
    ties: Sequence[Sequence[int]]
    branches: Sequence[Sequence[int]] = ()

    @property
    def least(self) -> list[int]:
        """Channels per group of the smallest aligned network."""
        droppable = {place for branch in self.branches for place in branch}
        return [0 if place in droppable else int(step) for place, step in enumerate(self._steps)]

    def ratio(self, kept: Sequence[int]) -> float:
        """Cost of the network with ``kept`` channels per group, as a share of the dense cost."""
        return self.cost.total(kept) / self.cost.total()

    def allocate(self, scores: Sequence[Tensor], ratio: float) -> list[int]:
        """How many channels each group keeps: (groups,) ints.

        ``scores`` holds one (channels,) tensor per group. From the smallest aligned network upwards,
        the best remaining channel of all groups raises its group by a whole step as long as the
        result costs at most ``ratio`` of the dense network; a group that no longer fits stays. Tied groups
        rise together, by what their best remaining channels are worth on average. The best channel of a branch
        brings its first step to all groups of the branch.
        """
        kept = np.array(self.least)
        worth = [_together([scores[place] for place in tie]) for tie in self.ties]
        owners = np.concatenate([np.full(len(s), number) for number, s in enumerate(worth)])
        order = torch.argsort(torch.cat(worth), descending=True, stable=True)
        branch_of = {place: list(branch) for branch in self.branches for place in branch}
        seen, closed = np.zeros(len(worth), dtype=np.int64), np.zeros(len(kept), dtype=bool)
        for number in owners[order.numpy()]:
            seen[number] += 1
            tie = list(self.ties[number])
            if closed[tie[0]] or seen[number] <= kept[tie[0]]:
                continue
            rising = tie if kept[tie[0]] else branch_of[tie[0]]
            raised = kept.copy()
            raised[rising] = self._up(int(seen[number]), tie) if kept[tie[0]] else self._steps[rising]
            if self.ratio(raised.tolist()) <= ratio:
                kept = raised
            else:
                closed[rising] = True
        return [int(count) for count in kept]

    @cached_property
    def _steps(self) -> NDArray[np.int64]:
        """The fewest channels that each group keeps when it keeps any."""
        steps = np.zeros_like(self.cost.channels)
        for tie in self.ties:
            steps[list(tie)] = self._up(1, tie)
        return steps

    def _up(self, kept: int, tie: Sequence[int]) -> int:
        """So many channels of tied groups rounded up to a whole step."""
        places = math.gcd(*(int(self.cost.places[place]) for place in tie))
        return self.alignment.up(kept, int(self.cost.channels[tie[0]]), places)


def _together(scores: Sequence[Tensor]) -> Tensor:
    """What the best channels of tied groups are worth, the second best, and so on: (channels,)."""
    if len(scores) == 1:
        return scores[0]
    ranked = torch.stack([score.sort(descending=True).values for score in scores])
    return ranked.square().mean(0).sqrt()
