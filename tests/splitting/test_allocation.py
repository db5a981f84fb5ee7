"""The search against every choice there is, under one limit and under several, with branches and wide layers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from test_budget import alone, blocks, chain

from compressor.alignment import Alignment
from compressor.costs import CostModel
from compressor.splitting import factors
from compressor.splitting.allocation import FactoredCost, Search
from compressor.splitting.budget import Budget
from compressor.splitting.elimination import best, elimination_order
from compressor.splitting.factors import Variables, factors_of

ONE = Alignment(1)


def random_search(random, costs=1):
    """A few variables, some pairs of which cost something together, and some three."""
    sizes = [int(random.integers(1, 6)) for _ in range(random.integers(1, 6))]
    values = [np.sort(random.random(size)).cumsum() for size in sizes]
    scopes: list[tuple[int, ...]] = [(v,) for v in range(len(sizes))]
    scopes += [pair for pair in product(range(len(sizes)), repeat=2) if pair[0] < pair[1] and random.random() < 0.6]
    scopes += [(0, 1, 2)] if len(sizes) > 2 else []

    def table(scope):
        steps = np.ix_(*(np.arange(1.0, sizes[v] + 1) for v in scope))
        return random.random() * np.prod(np.broadcast_arrays(*steps), 0)

    return Search(values, [FactoredCost(random.random(), {s: table(s) for s in scopes}) for _ in range(costs)])


def every(search):
    return list(product(*(range(len(table)) for table in search.values)))


def worth(search, levels):
    return sum(table[level] for table, level in zip(search.values, levels, strict=True))


@pytest.mark.parametrize("costs", [1, 2, 3])
def test_the_choice_is_within_the_limits_close_to_the_best_and_the_bound_holds(costs):
    random, gaps = np.random.default_rng(costs), []
    for _ in range(60):
        search = random_search(random, costs)
        ends = [
            (cost.total([0] * len(search.values)), cost.total([len(t) - 1 for t in search.values]))
            for cost in search.costs
        ]
        limits = [low + (high - low) * random.random() for low, high in ends]
        found = search.allocate(limits)
        assert all(cost.total(found.levels) <= limit for cost, limit in zip(search.costs, limits, strict=True))
        fitting = [
            worth(search, one)
            for one in every(search)
            if all(cost.total(one) <= limit for cost, limit in zip(search.costs, limits, strict=True))
        ]
        assert found.value == pytest.approx(worth(search, found.levels))
        assert found.value <= max(fitting) + 1e-9 <= found.bound + 2e-9
        gaps.append(1 - found.value / max(fitting))
    assert max(gaps) < 0.08
    assert np.mean(np.array(gaps) < 1e-9) > 0.8


def test_elimination_finds_the_best_of_all():
    random = np.random.default_rng(0)
    for _ in range(50):
        search = random_search(random)
        tables = [((v,), table) for v, table in enumerate(search.values)]
        tables += [(scope, -table) for scope, table in search.costs[0].tables.items()]
        order = elimination_order([len(t) for t in search.values], [scope for scope, _ in tables])
        levels, bound = best(tables, order)
        totals = [sum(t[tuple(one[v] for v in s)] for s, t in tables) for one in every(search)]
        assert bound == pytest.approx(max(totals))
        assert sum(t[tuple(levels[v] for v in s)] for s, t in tables) == pytest.approx(max(totals))


def test_tables_that_grow_too_large_still_bound(monkeypatch):
    monkeypatch.setattr("compressor.splitting.elimination.LARGEST", 8)
    random = np.random.default_rng(1)
    for _ in range(50):
        search = random_search(random)
        limit = np.mean([search.costs[0].total(one) for one in every(search)])
        found = search.allocate([limit])
        fitting = [worth(search, one) for one in every(search) if search.costs[0].total(one) <= limit]
        assert found.value <= max(fitting) + 1e-9 <= found.bound + 2e-9


def concatenated(widths, out):
    """A layer that reads groups side by side, as in a dense block, after a layer that makes each of them."""
    count = len(widths)
    into, made = np.zeros((2, count + 1, count + 1))
    for group in range(count):
        made[group, group] = into[count, group] = 1
    made[count, count] = 1
    return CostModel(
        layers=tuple(map(str, range(count + 1))),
        channels=np.array([*widths, out], dtype=np.int64),
        places=np.ones(count + 1, dtype=np.int64),
        inputs=np.array([*[3.0] * count, sum(widths)]),
        outputs=np.array([*widths, out], dtype=np.float64),
        inputs_per_channel=into,
        outputs_per_channel=made,
        per_pair=np.ones(count + 1),
        fixed=5.0,
    )


COSTS = {
    "chain": chain(4, 3, 5),
    "blocks": blocks((3, 2), (2, 4)),
    "concatenated": concatenated((3, 2, 4), 3),
}


@pytest.mark.parametrize("largest", [1 << 16, 1])
@pytest.mark.parametrize(
    "cost",
    [chain(4, 3, 5), blocks((3, 2), (2, 4)), concatenated((3, 2, 4), 3)],
    ids=["chain", "blocks", "concatenated"],
)
def test_the_tables_add_up_to_the_cost_of_every_network(monkeypatch, cost, largest):
    monkeypatch.setattr(factors, "LARGEST", largest)
    droppable = cost.branches is not None
    levels = [np.arange(0 if droppable else 1, width + 1) for width in cost.channels]
    branches = [(0, 1), (2, 3)] if droppable else []
    variables = Variables(alone(len(cost.channels)), levels, branches)
    fixed, tables = factors_of(cost, variables)
    total = FactoredCost(fixed, tables)
    forbidden = list(variables.forbidden())
    for chosen in product(*(range(len(one)) for one in levels)):
        if not any(excluded[tuple(chosen[v] for v in scope)] for scope, excluded in forbidden):
            assert total.total(chosen) == pytest.approx(cost.total(variables.kept(chosen)))


@pytest.mark.parametrize("ratios", [(0.5, 0.5), (0.3, 0.7), (0.8, 0.25)])
def test_of_several_limits_all_hold_and_one_binds(ratios):
    macs, weights = chain(8, 6, 8), chain(8, 6, 8)
    weights = CostModel(**{**vars(weights), "per_pair": np.array([1.0, 9.0, 1.0, 3.0])})
    budget = Budget([macs, weights], ONE, alone(3))
    scores = [torch.rand(width, generator=torch.Generator().manual_seed(width)) for width in (8, 6, 8)]
    kept = budget.allocate(scores, ratios).kept
    assert all(reached <= ratio for reached, ratio in zip(budget.ratios(kept), ratios, strict=True))
    for wider in budget.wider(kept):
        assert any(reached > ratio for reached, ratio in zip(budget.ratios(wider), ratios, strict=True))


def test_weights_of_no_number_are_worth_nothing():
    budget = Budget([chain(4, 4)], ONE, alone(2))
    kept = budget.allocate([torch.full((4,), float("nan")), torch.tensor([1.0, float("inf"), 2.0, 3.0])], [0.5]).kept
    assert kept[1] > kept[0]
