"""The most valuable network within a limit on what it costs, and how far from the best one it can be.

Values add up over variables, costs over variables and pairs of them, because what a layer costs depends on the channels
that it reads and on those that it makes. The limit is made a price, a Lagrange multiplier: at every price the best
network is found by elimination, and what it is worth beyond its price bounds what any network within the limit can be
worth (Everett, Operations Research 11, 1963). The price with the lowest bound is searched for. What is then left of
the limit is filled by changing one variable or exchanging two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compressor.splitting.elimination import best, elimination_order

Table = NDArray[np.float64]
Levels = list[int]

PRICES = 60
# Where two prices, or a value and its bound, are taken as equal; relative.
CLOSE = 1e-9
# A price at which nothing is worth anything.
HIGHEST = 1e18


@dataclass(frozen=True, eq=False)
class PairwiseCost:
    """``fixed``, a table of every variable's levels (levels,) and of pairs of variables (levels, levels), added up."""

    fixed: float
    alone: Sequence[Table]
    pairs: Mapping[tuple[int, int], Table]

    def total(self, levels: Sequence[int]) -> float:
        """What the choice of one level for each variable costs."""
        alone = sum(float(table[level]) for table, level in zip(self.alone, levels, strict=True))
        return self.fixed + alone + sum(float(table[levels[v], levels[w]]) for (v, w), table in self.pairs.items())

    @cached_property
    def around(self) -> list[dict[int, Table]]:
        """By variable: its neighbours, and what the pair costs, with its own levels on the first axis."""
        found: list[dict[int, Table]] = [{} for _ in self.alone]
        for (one, other), table in self.pairs.items():
            found[one][other], found[other][one] = table, table.T
        return found

    def of(self, variable: int, levels: Sequence[int]) -> Table:
        """What each level of one variable costs (levels,) while the others stay; without what does not depend on it."""
        return self.alone[variable] + sum(table[:, levels[w]] for w, table in self.around[variable].items())


@dataclass(frozen=True)
class Allocation:
    """A level for every variable, what they are worth, and what no choice within the limit is worth more than."""

    levels: Levels
    value: float
    bound: float


@dataclass(frozen=True, eq=False)
class Search:
    """For choices of one level of each variable; ``values`` holds what the levels are worth, (levels,) each."""

    values: Sequence[Table]
    cost: PairwiseCost

    def allocate(self, limit: float) -> Allocation | None:
        """The best choice found that costs at most ``limit``; None when none was."""
        found: Levels | None = None
        bound, low, high = math.inf, 0.0, self._price_that_fits(limit)
        for _ in range(PRICES):
            price = math.sqrt(low * high) if low else high / 2
            levels, most = self._at(price, limit)
            bound = min(bound, most)
            if self.cost.total(levels) > limit:
                low = price
            else:
                high = price
                found = levels if found is None else max(found, levels, key=self._worth)
            if high <= low * (1 + CLOSE) or (found and self._worth(found) >= bound - CLOSE * abs(bound)):
                break
        if found is None:
            return None
        found = self._improved(found, limit)
        return Allocation(found, self._worth(found), max(bound, self._worth(found)))

    @cached_property
    def _order(self) -> list[int]:
        return elimination_order([len(table) for table in self.values], list(self.cost.pairs))

    def _worth(self, levels: Sequence[int]) -> float:
        return sum(float(table[level]) for table, level in zip(self.values, levels, strict=True))

    def _at(self, price: float, limit: float) -> tuple[Levels, float]:
        """The best choice when what it costs has a price, and the bound that follows."""
        worth = [value - price * alone for value, alone in zip(self.values, self.cost.alone, strict=True)]
        levels, most = best(worth, {pair: -price * table for pair, table in self.cost.pairs.items()}, self._order)
        return levels, most + price * (limit - self.cost.fixed)

    def _price_that_fits(self, limit: float) -> float:
        price = 1.0
        while price < HIGHEST and self.cost.total(self._at(price, limit)[0]) > limit:
            price *= 4
        return 2 * price

    def _improved(self, levels: Levels, limit: float) -> Levels:
        """With the best change of one or two variables that fits, again and again, until none gains anything."""
        while True:
            gain, better = max(self._changes(levels, limit), key=lambda change: change[0], default=(0.0, levels))
            if gain <= CLOSE * abs(self._worth(levels)):
                return levels
            levels = better

    def _changes(self, levels: Levels, limit: float) -> Iterator[tuple[float, Levels]]:
        costs = [self.cost.of(variable, levels) for variable in range(len(levels))]
        spare = limit - self.cost.total(levels)
        yield from self._raised(levels, costs, spare, 0.0)
        for variable, level in enumerate(levels):
            if level:
                lower = [*levels[:variable], level - 1, *levels[variable + 1 :]]
                after = costs.copy()
                for other, table in self.cost.around[variable].items():
                    after[other] = costs[other] + table[level - 1] - table[level]
                freed = float(costs[variable][level] - costs[variable][level - 1])
                lost = float(self.values[variable][level] - self.values[variable][level - 1])
                yield from self._raised(lower, after, spare + freed, lost, variable)

    def _raised(
        self, levels: Levels, costs: Sequence[Table], spare: float, lost: float, but: int | None = None
    ) -> Iterator[tuple[float, Levels]]:
        """For every variable its best level that fits into what is spare."""
        for variable, level in enumerate(levels):
            if variable != but:
                fits = costs[variable] - costs[variable][level] <= spare
                gains = np.where(fits, self.values[variable] - self.values[variable][level], -np.inf)
                to = int(np.argmax(gains))
                if gains[to] > lost:
                    yield float(gains[to]) - lost, [*levels[:variable], to, *levels[variable + 1 :]]
