"""The most valuable network within limits on what it costs, and how far from the best one it can be.

Values add up over variables; a cost is a sum of tables over few variables each, because what a layer costs depends on
the channels that it reads and on those that it makes. A limit is made a price, a Lagrange multiplier: at every price
the best network is found by elimination, and what it is worth beyond its price bounds what any network within the
limit can be worth (Everett, Operations Research 11, 1963). The price with the lowest bound is searched for. Several
limits are one on a weighted mean of their costs, which bounds as well (the surrogate constraint of Glover, Operations
Research 16, 1968); the weight of what is exceeded grows. What is then left is filled by changing one variable or
exchanging two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from compressor.splitting.elimination import Scope, Table, best, elimination_order

Levels = list[int]

PRICES = 60
# How often the weights of several limits are revised, and how fast.
WEIGHINGS, GROWTH = 12, 4.0
# Where two prices, or a value and its bound, are taken as equal; relative.
CLOSE = 1e-9
# A price at which nothing is worth anything.
HIGHEST, FORBIDDEN = 1e18, -1e30


@dataclass(frozen=True, eq=False)
class FactoredCost:
    """``fixed`` and tables over the levels of some variables, added up; the axes of a table are in increasing order."""

    fixed: float
    tables: Mapping[Scope, Table]

    def total(self, levels: Sequence[int]) -> float:
        """What the choice of one level for each variable costs."""
        return self.fixed + sum(float(table[tuple(levels[v] for v in scope)]) for scope, table in self.tables.items())

    def of(self, variable: int, levels: Sequence[int]) -> Table | float:
        """What each level of one variable costs (levels,) while the others stay; without what does not depend on it."""
        return sum(
            (
                table[tuple(slice(None) if v == variable else levels[v] for v in scope)]
                for scope, table in self._around.get(variable, ())
            ),
            0.0,
        )

    @cached_property
    def _around(self) -> dict[int, list[tuple[Scope, Table]]]:
        found: dict[int, list[tuple[Scope, Table]]] = {}
        for scope, table in self.tables.items():
            for variable in scope:
                found.setdefault(variable, []).append((scope, table))
        return found


@dataclass(frozen=True)
class Allocation:
    """A level for every variable, what they are worth, and what no choice within the limits is worth more than."""

    levels: Levels
    value: float
    bound: float


@dataclass(frozen=True, eq=False)
class Search:
    """For choices of one level of each variable.

    ``values[v]`` (levels of v,) is what the levels are worth, increasing; level 0 of all variables costs least.
    ``forbidden`` are pairs of variables and which of their levels exclude each other, because those of ``together``
    are at level 0 as a whole or not at all.
    """

    values: Sequence[Table]
    costs: Sequence[FactoredCost]
    forbidden: Sequence[tuple[Scope, NDArray[np.bool_]]] = ()
    together: Sequence[Sequence[int]] = field(default=())

    def allocate(self, limits: Sequence[float]) -> Allocation:
        """The best choice found whose costs are at most ``limits``; that of the least cost when nothing else fits."""
        found = [0] * len(self.values)
        bound = math.inf
        for weights in self._weightings(limits):
            levels, most = self._within(weights, limits)
            bound = min(bound, most)
            if self._fits(levels, limits):
                found = max(found, levels, key=self._worth)
            excess = [cost.total(levels) / limit - 1 for cost, limit in zip(self.costs, limits, strict=True)]
            weights *= np.exp(GROWTH * np.array(excess))
            if (max(excess) <= CLOSE and weights.size == 1) or self._worth(found) >= bound - CLOSE * abs(bound):
                break
        found = self._improved(found, limits)
        return Allocation(found, self._worth(found), max(bound, self._worth(found)))

    def _weightings(self, limits: Sequence[float]) -> Iterator[Table]:
        """First each limit alone, then all of them with weights that the caller lets grow."""
        if len(limits) == 1:
            yield np.ones(1)
            return
        yield from np.eye(len(limits))
        weights = np.full(len(limits), 1 / len(limits))
        for _ in range(WEIGHINGS):
            yield weights
            weights /= weights.sum()

    def _within(self, weights: Table, limits: Sequence[float]) -> tuple[Levels, float]:
        """The best choice found whose weighted costs are within their limits, and the bound that follows."""
        joint = _joint(self.costs, weights / np.array(limits))
        limit, found = float(weights.sum()), [0] * len(self.values)
        bound, low, high = math.inf, 0.0, self._price_that_fits(joint, limit)
        for _ in range(PRICES):
            price = math.sqrt(low * high) if low else high / 2
            levels, most = self._at(joint, price, limit)
            bound = min(bound, most)
            if joint.total(levels) > limit:
                low = price
            else:
                high = price
                found = max(found, levels, key=self._worth)
            if high <= low * (1 + CLOSE) or self._worth(found) >= bound - CLOSE * abs(bound):
                break
        return found, bound

    @cached_property
    def _order(self) -> list[int]:
        scopes = [scope for cost in self.costs for scope in cost.tables] + [scope for scope, _ in self.forbidden]
        return elimination_order([len(table) for table in self.values], scopes)

    @cached_property
    def _prohibitions(self) -> list[tuple[Scope, Table]]:
        """Worth less than anything else could make up for."""
        return [(scope, np.where(excluded, FORBIDDEN, 0.0)) for scope, excluded in self.forbidden]

    def _worth(self, levels: Sequence[int]) -> float:
        return sum(float(table[level]) for table, level in zip(self.values, levels, strict=True))

    def _fits(self, levels: Sequence[int], limits: Sequence[float]) -> bool:
        return all(cost.total(levels) <= limit for cost, limit in zip(self.costs, limits, strict=True))

    def _at(self, cost: FactoredCost, price: float, limit: float) -> tuple[Levels, float]:
        """The best choice when what it costs has a price, and the bound that follows."""
        worth = [((v,), table) for v, table in enumerate(self.values)]
        priced = [(scope, -price * table) for scope, table in cost.tables.items()]
        levels, most = best([*worth, *priced, *self._prohibitions], self._order)
        return levels, most + price * (limit - cost.fixed)

    def _price_that_fits(self, cost: FactoredCost, limit: float) -> float:
        price = 1.0
        while price < HIGHEST and cost.total(self._at(cost, price, limit)[0]) > limit:
            price *= 4
        return 2 * price

    def _improved(self, levels: Levels, limits: Sequence[float]) -> Levels:
        """With the best change of one or two variables that fits, again and again, until none gains anything."""
        while True:
            worth = self._worth(levels)
            better = max(self._changes(levels, limits), key=self._worth, default=levels)
            if not self._worth(better) > worth + CLOSE * abs(worth):
                return levels
            levels = better

    def _changes(self, levels: Levels, limits: Sequence[float]) -> Iterator[Levels]:
        for start in (levels, *self._lowered(levels), *self._toggled(levels)):
            yield from self._raised(start, limits)

    def _lowered(self, levels: Levels) -> Iterator[Levels]:
        """With one variable lower by one level, or two, or four, and so on."""
        for variable, level in enumerate(levels):
            step, least = 1, int(variable in self._branched)
            while level - step >= least:
                yield [*levels[:variable], level - step, *levels[variable + 1 :]]
                step *= 2

    def _toggled(self, levels: Levels) -> Iterator[Levels]:
        for branch in self.together:
            gone = levels[branch[0]] == 0
            yield [int(gone) if v in branch else level for v, level in enumerate(levels)]

    @cached_property
    def _branched(self) -> set[int]:
        return {variable for branch in self.together for variable in branch}

    def _raised(self, levels: Levels, limits: Sequence[float]) -> Iterator[Levels]:
        """The levels, if they fit, and with the best level that fits of each variable alone."""
        spare = [limit - cost.total(levels) for cost, limit in zip(self.costs, limits, strict=True)]
        if min(spare) >= 0:
            yield levels
        for variable, level in enumerate(levels):
            if level == 0 and variable in self._branched:
                continue
            fits = np.full(len(self.values[variable]), fill_value=True)
            for cost, left in zip(self.costs, spare, strict=True):
                its = cost.of(variable, levels) + np.zeros(len(fits))
                fits &= its - its[level] <= left
            fits[: level + 1] = False
            if fits.any():
                yield [*levels[:variable], int(np.flatnonzero(fits)[-1]), *levels[variable + 1 :]]


def _joint(costs: Sequence[FactoredCost], weights: Iterable[float]) -> FactoredCost:
    """The weighted sum of the costs."""
    fixed, tables = 0.0, dict[Scope, Table]()
    for cost, weight in zip(costs, weights, strict=True):
        if weight:
            fixed += weight * cost.fixed
            for scope, table in cost.tables.items():
                tables[scope] = tables[scope] + weight * table if scope in tables else weight * table
    return FactoredCost(fixed, tables)
