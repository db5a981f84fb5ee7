"""The best choice of one level for each variable, where what a choice is worth is a sum over few of them each.

Variables are eliminated one after the other, each by the best that it can be for every choice of its neighbours
(Dechter, Bucket elimination, 1999). Where a table would be too large it is cut into several, which makes the
result an upper bound (Dechter and Rish, Mini-buckets, 2003).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]
Scope = tuple[int, ...]
Factor = tuple[Scope, Table]

# Entries of the largest table.
LARGEST = 1 << 19


def elimination_order(sizes: Sequence[int], scopes: Iterable[Scope]) -> list[int]:
    """The variables, each time the one whose table of neighbours is smallest."""
    neighbours: dict[int, set[int]] = {variable: set() for variable in range(len(sizes))}
    for scope in scopes:
        for variable in scope:
            neighbours[variable] |= {*scope} - {variable}
    order = []
    while neighbours:
        least = min(neighbours, key=lambda v: (math.prod(sizes[n] for n in neighbours[v]), v))
        around = neighbours.pop(least)
        for one in around:
            neighbours[one] |= around - {one}
            neighbours[one].discard(least)
        order.append(least)
    return order


def best(factors: Iterable[Factor], order: Sequence[int]) -> tuple[list[int], float]:
    """A level for each variable, and what no choice is worth more than.

    The tables of all ``factors`` add up; the axes of a table are the variables of its scope, in increasing order, and
    every variable is in one. The choice is the best there is and the bound its worth, unless a table was too large.
    """
    waiting = list(factors)
    buckets: list[tuple[int, list[Factor]]] = []
    bound = 0.0
    for variable in order:
        mine = [factor for factor in waiting if variable in factor[0]]
        waiting = [factor for factor in waiting if variable not in factor[0]]
        buckets.append((variable, mine))
        for joined in _mini_buckets(mine):
            scope, table = _without(joined, variable)
            if scope:
                waiting.append((scope, table))
            else:
                bound += float(table)
    return _decoded(buckets, len(order)), bound


def _mini_buckets(factors: Sequence[Factor]) -> list[Factor]:
    """The factors added up, in as few tables as do not become too large."""
    joined: list[Factor] = []
    for factor in sorted(factors, key=lambda one: -one[1].size):
        for place, other in enumerate(joined):
            if _joint_size(factor, other) <= LARGEST:
                joined[place] = _add(factor, other)
                break
        else:
            joined.append(factor)
    return joined


def _joint_size(one: Factor, other: Factor) -> int:
    sizes = dict(zip(one[0], one[1].shape, strict=True)) | dict(zip(other[0], other[1].shape, strict=True))
    return math.prod(sizes.values())


def _add(one: Factor, other: Factor) -> Factor:
    scope = tuple(sorted({*one[0], *other[0]}))
    return scope, _spread(one, scope) + _spread(other, scope)


def _spread(factor: Factor, scope: Scope) -> Table:
    """The table with an axis for each variable of ``scope``, of length one where it does not depend on it."""
    sizes = dict(zip(factor[0], factor[1].shape, strict=True))
    return factor[1].reshape([sizes.get(variable, 1) for variable in scope])


def _without(factor: Factor, variable: int) -> Factor:
    axis = factor[0].index(variable)
    return factor[0][:axis] + factor[0][axis + 1 :], factor[1].max(axis)


def _decoded(buckets: Sequence[tuple[int, Sequence[Factor]]], count: int) -> list[int]:
    chosen = [0] * count
    for variable, factors in reversed(buckets):
        rows = [table[tuple(slice(None) if v == variable else chosen[v] for v in scope)] for scope, table in factors]
        chosen[variable] = int(np.argmax(sum(rows)))
    return chosen
