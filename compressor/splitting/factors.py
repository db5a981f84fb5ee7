"""The cost of a network as a sum of tables, each over the levels of the few groups on which a layer depends.

A variable is a tie: groups that keep equally many channels. Its level is a place in the list of the counts that they
may keep. A layer depends on the groups that it reads and makes, and on whether its branch is there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from compressor.costs import CostModel
from compressor.splitting.elimination import Scope, Table

Factors = dict[Scope, Table]

# Entries of the table of one layer; where it would have more, its cost is taken as bilinear.
LARGEST = 1 << 16


@dataclass(frozen=True, eq=False)
class Variables:
    """``levels[v]`` are the counts that the groups at the places ``ties[v]`` may keep, increasing.

    ``branches`` hold the variables that are at level 0, no channel, together.
    """

    ties: Sequence[Sequence[int]]
    levels: Sequence[NDArray[np.int64]]
    branches: Sequence[Sequence[int]] = ()
    of_group: Mapping[int, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_group", {place: v for v, tie in enumerate(self.ties) for place in tie})

    def kept(self, chosen: Sequence[int]) -> list[int]:
        """Channels of each group (groups,) at those levels."""
        counts = [0] * len(self.of_group)
        for place, variable in self.of_group.items():
            counts[place] = int(self.levels[variable][chosen[variable]])
        return counts

    def forbidden(self) -> Iterator[tuple[Scope, NDArray[np.bool_]]]:
        """Pairs of variables, and which of their levels exclude each other: a branch is there or gone as a whole."""
        for branch in self.branches:
            for pair in itertools.pairwise(branch):
                one, other = (self.levels[v] == 0 for v in sorted(pair))
                yield tuple(sorted(pair)), one[:, None] != other[None, :]


def factors_of(cost: CostModel, variables: Variables) -> tuple[float, Factors]:
    """A constant and tables by scope that add up to the cost; exact where the layers depend on few groups."""
    columns = [list(tie) for tie in variables.ties]
    tables = cost.inputs_per_channel, cost.outputs_per_channel
    lost = [np.stack([table[:, c].sum(1) for c in columns], 1) if columns else table for table in tables]
    found: Factors = {}
    for layer in range(len(cost.layers)):
        for scope, table in _layer(cost, layer, lost[0][layer], lost[1][layer], variables):
            found[scope] = found[scope] + table if scope in found else table
    constant = found.pop((), np.zeros(()))
    return cost.fixed + float(constant), found


def _layer(cost: CostModel, layer: int, into: Table, out: Table, variables: Variables) -> Iterator[tuple[Scope, Table]]:
    """The tables of one layer: one over all that it depends on, or those of its bilinear terms."""
    top = np.array([levels[-1] for levels in variables.levels])
    least = cost.inputs[layer] - into @ top, cost.outputs[layer] - out @ top
    touched = np.flatnonzero((into != 0) | (out != 0)).tolist()
    switch = _switch(cost, layer, touched, variables)
    scope = tuple(sorted({*touched, *(() if switch is None else (switch,))}))
    if math.prod(len(variables.levels[v]) for v in scope) <= LARGEST:
        inputs, outputs = (
            start + sum((per[v] * _spread(variables, v, scope) for v in scope), np.zeros(_shape(variables, scope)))
            for start, per in zip(least, (into, out), strict=True)
        )
        yield scope, cost.at(layer, inputs, outputs) * _there(cost, layer, switch, scope, variables)
        return
    for term, table in _terms(cost.bilinear(layer), least, into, out, touched, variables):
        over = tuple(sorted({*term, *(() if switch is None else (switch,))}))
        yield over, _widen(table, term, over, variables) * _there(cost, layer, switch, over, variables)


def _terms(
    bilinear: tuple[float, float, float, float],
    least: tuple[float, float],
    into: Table,
    out: Table,
    touched: Sequence[int],
    variables: Variables,
) -> Iterator[tuple[Scope, Table]]:
    """Constant, linear and quadratic terms in the counts of c + ci i + co o + cio i o, i and o linear in the counts."""
    constant, per_input, per_output, per_pair = bilinear
    i, o = least
    yield (), np.array(constant + per_input * i + per_output * o + per_pair * i * o)
    for place, v in enumerate(touched):
        count = variables.levels[v].astype(np.float64)
        linear = per_input * into[v] + per_output * out[v] + per_pair * (i * out[v] + o * into[v])
        yield (v,), linear * count + per_pair * into[v] * out[v] * count**2
        for w in touched[place + 1 :]:
            mixed = per_pair * (into[v] * out[w] + into[w] * out[v])
            if mixed:
                yield (v, w), mixed * np.outer(count, variables.levels[w])


def _switch(cost: CostModel, layer: int, touched: Sequence[int], variables: Variables) -> int | None:
    """The variable whose level 0 says that the layer's branch is gone; None for a layer that is always there."""
    if cost.branches is None or cost.branches.branch[layer] >= len(cost.branches.sizes):
        return None
    members = np.flatnonzero(cost.branches.groups[cost.branches.branch[layer]])
    if len(members) < cost.branches.sizes[cost.branches.branch[layer]]:
        return None
    found = [variables.of_group[place] for place in members.tolist()]
    return next((v for v in found if v in touched), found[0])


def _there(cost: CostModel, layer: int, switch: int | None, scope: Scope, variables: Variables) -> Table:
    """1 where the layer is there, else 0, with an axis for each variable of ``scope``."""
    instead = cost.branches is not None and bool(cost.branches.instead[layer])
    if switch is None:
        return np.array(0.0 if instead else 1.0)
    there: Table = ((_spread(variables, switch, scope) == 0) == instead).astype(np.float64)
    return there


def _shape(variables: Variables, scope: Scope) -> tuple[int, ...]:
    return tuple(len(variables.levels[v]) for v in scope)


def _spread(variables: Variables, variable: int, scope: Scope) -> Table:
    """The counts of one variable along its axis of ``scope``."""
    shape = [-1 if other == variable else 1 for other in scope]
    return variables.levels[variable].astype(np.float64).reshape(shape)


def _widen(table: Table, term: Scope, scope: Scope, variables: Variables) -> Table:
    """A table over ``term`` with an axis for each variable of ``scope``, which holds them."""
    return table.reshape([len(variables.levels[v]) if v in term else 1 for v in scope]) + np.zeros(
        _shape(variables, scope)
    )
