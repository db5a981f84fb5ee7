"""Which channels survive a budget: those worth most together, in an aligned network that fits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compressor.alignment import Alignment
from compressor.costs import CostModel
from compressor.splitting.allocation import FactoredCost, Search
from compressor.splitting.elimination import Scope
from compressor.splitting.factors import Variables, factors_of

# How often limits are made tighter for a cost that its tables approximate, and what sums are rounded by.
TRIES, ROUNDING = 8, 1e-12
SOMETHING, LARGEST = 1e-6, 1e15


@dataclass(frozen=True)
class Choice:
    """Channels ``kept`` of each group, what they are worth, and what no choice within the limits is worth more than."""

    kept: list[int]
    value: float
    bound: float

    @property
    def optimality(self) -> float:
        """Its worth as a share of the bound: 1 when it is the best that there is."""
        return self.value / self.bound if self.bound > 0 else 1.0


@dataclass(frozen=True)
class Budget:
    """Decides how many channels of each group are kept within shares of what the dense network costs.

    ``costs`` are the costs that are limited. ``ties`` are the places of the groups that keep equally many channels,
    together: every group is in one of them. ``branches`` are the places of groups that may keep none, together.
    """

    costs: Sequence[CostModel]
    alignment: Alignment
    ties: Sequence[Sequence[int]]
    branches: Sequence[Sequence[int]] = ()

    @property
    def least(self) -> list[int]:
        """Channels per group of the smallest aligned network."""
        return self.variables.kept([0] * len(self.ties))

    def ratios(self, kept: Sequence[int]) -> list[float]:
        """What the network with ``kept`` channels per group costs, as shares of the dense costs."""
        return [cost.total(kept) / cost.dense for cost in self.costs]

    def tightest(self, ratios: Sequence[float]) -> CostModel:
        """The cost of which least is left."""
        return self.costs[int(np.argmin(ratios))]

    def allocate(self, scores: Sequence[Tensor], ratios: Sequence[float]) -> Choice:
        """How many channels each group keeps so that it costs at most ``ratios`` of the dense network.

        ``scores`` holds one (channels,) tensor per group: what a channel is worth for what it costs by the limit that
        leaves least. Of all aligned networks within the limits, that with the most valuable channels is searched for;
        a group keeps its best ones.
        """
        values, limits = self._values(scores, ratios), list(ratios)
        for _ in range(TRIES):
            found = Search(values, self._factored, *self._together).allocate(
                [limit * (1 + ROUNDING) for limit in limits]
            )
            kept = self.variables.kept(found.levels)
            reached = self.ratios(kept)
            if all(one <= ratio for one, ratio in zip(reached, ratios, strict=True)) or kept == self.least:
                return Choice(kept, float(found.value), float(found.bound))
            # Where a layer depends on many groups its table is an approximation, and sums are rounded.
            limits = [
                limit * min(1.0, ratio / one) * (1 - ROUNDING)
                for limit, one, ratio in zip(limits, reached, ratios, strict=True)
            ]
        return Choice(self.least, 0.0, float(found.bound))

    def wider(self, kept: Sequence[int]) -> Iterator[list[int]]:
        """The networks in which one group of ``kept``, with those that are tied to it, keeps a step more."""
        for tie, levels in zip(self.ties, self.variables.levels, strict=True):
            more = levels[levels > kept[tie[0]]]
            if kept[tie[0]] and len(more):
                yield [int(more[0]) if place in tie else count for place, count in enumerate(kept)]
        for branch in self.branches:
            if not kept[branch[0]]:
                first = {place: int(self.variables.levels[self.variables.of_group[place]][1]) for place in branch}
                yield [first.get(place, count) for place, count in enumerate(kept)]

    @cached_property
    def variables(self) -> Variables:
        """The ties and the numbers of channels that each may keep."""
        droppable = {place for branch in self.branches for place in branch}
        levels = []
        for tie in self.ties:
            places = math.gcd(*(int(self.costs[0].places[place]) for place in tie))
            some = self.alignment.levels(int(self.costs[0].channels[tie[0]]), places)
            levels.append(np.array([*([0] if droppable & {*tie} else []), *some], dtype=np.int64))
        of_group = {place: v for v, tie in enumerate(self.ties) for place in tie}
        together = [sorted({of_group[place] for place in branch}) for branch in self.branches]
        return Variables([list(tie) for tie in self.ties], levels, together)

    @cached_property
    def _factored(self) -> list[FactoredCost]:
        """Each cost as a share of the dense network's."""
        found = []
        for cost in self.costs:
            fixed, tables = factors_of(cost, self.variables)
            found.append(FactoredCost(fixed / cost.dense, {s: table / cost.dense for s, table in tables.items()}))
        return found

    @cached_property
    def _together(self) -> tuple[list[tuple[Scope, NDArray[np.bool_]]], Sequence[Sequence[int]]]:
        return list(self.variables.forbidden()), self.variables.branches

    def _values(self, scores: Sequence[Tensor], ratios: Sequence[float]) -> list[NDArray[np.float64]]:
        """What the levels of each variable are worth: that of their best channels, each its score times its cost."""
        shares, values = self.tightest(ratios).share_per_channel, []
        for tie, levels in zip(self.ties, self.variables.levels, strict=True):
            # Weights that diverge are for the training to undo.
            known = [scores[place].double().nan_to_num(0.0, LARGEST, 0.0).sort(descending=True) for place in tie]
            ranked = sum(one.values.numpy() * shares[place] for one, place in zip(known, tie, strict=True))
            worth = np.concatenate([[0.0], np.cumsum(ranked)])
            values.append(worth[levels])
        # Channels that are worth nothing are still better kept than not.
        something = SOMETHING * (sum(float(worth[-1]) for worth in values) or 1.0)
        return [v + something * n / n[-1] for v, n in zip(values, self.variables.levels, strict=True)]
