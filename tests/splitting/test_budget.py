"""The budget against brute force on cost models small enough to try every network."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from compressor.alignment import Alignment
from compressor.costs import BranchCosts, CostModel
from compressor.errors import UsageError
from compressor.splitting.budget import Budget
from compressor.splitting.targets import Target

ONE, TWO = Alignment(1), Alignment(2)
RATIOS = (0.2, 0.35, 0.5, 0.77, 0.9, 1.0)


def chain(*widths, places=()):
    """Linear layers 10 -> widths -> 10: group g is the output of layer g and the input of layer g + 1."""
    layers, groups = len(widths) + 1, len(widths)
    into, out = np.zeros((2, layers, groups))
    for group in range(groups):
        out[group, group] = into[group + 1, group] = 1
    return CostModel(
        layers=tuple(map(str, range(layers))),
        channels=np.array(widths, dtype=np.int64),
        places=np.array(places or [1] * groups, dtype=np.int64),
        inputs=np.array([10, *widths], dtype=np.float64),
        outputs=np.array([*widths, 10], dtype=np.float64),
        inputs_per_channel=into,
        outputs_per_channel=out,
        per_pair=np.ones(layers),
        fixed=0.0,
    )


def alone(count):
    return [[group] for group in range(count)]


def scores(widths, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(width, generator=generator) for width in widths]


def ratio_of(budget, kept):
    return budget.ratios(kept)[0]


def allocate(budget, score, ratio):
    return budget.allocate(score, [ratio]).kept


def cases():
    for widths, align, ratio, seed in product([(4,), (6, 4), (5, 8, 3)], [ONE, TWO], RATIOS, range(3)):
        budget = Budget([chain(*widths)], align, alone(len(widths)))
        if ratio_of(budget, budget.least) <= ratio:
            yield budget, widths, ratio, scores(widths, seed)


def choices(budget):
    """All counts that alignment allows, per group."""
    return [
        sorted({budget.alignment.up(kept, int(width)) for kept in range(1, width + 1)})
        for width in budget.costs[0].channels
    ]


def test_the_kept_network_is_never_above_the_limit():
    for budget, _, ratio, score in cases():
        assert ratio_of(budget, allocate(budget, score, ratio)) <= ratio


def test_every_kept_count_is_aligned():
    for budget, _, ratio, score in cases():
        assert all(
            kept in allowed for kept, allowed in zip(allocate(budget, score, ratio), choices(budget), strict=True)
        )


def test_no_group_of_the_kept_network_can_be_raised_by_a_step():
    for budget, _, ratio, score in cases():
        kept = allocate(budget, score, ratio)
        for group, allowed in enumerate(choices(budget)):
            higher = [count for count in allowed if count > kept[group]]
            raised = [higher[0] if place == group and higher else count for place, count in enumerate(kept)]
            assert not higher or ratio_of(budget, raised) > ratio


def test_one_group_keeps_the_most_that_brute_force_finds():
    for width, align, ratio in product([4, 7, 9], [ONE, TWO], RATIOS):
        budget = Budget([chain(width)], align, alone(1))
        fitting = [kept for kept in choices(budget)[0] if ratio_of(budget, [kept]) <= ratio]
        if fitting:
            assert allocate(budget, scores((width,), 0), ratio) == [max(fitting)]


def best_of_all(budget, score, ratio):
    """What the most valuable of all networks within the limit is worth, and its value as the budget counts it."""
    values = budget._values(score, [ratio])
    levels = [range(len(table)) for table in values]
    fitting = [
        sum(table[level] for table, level in zip(values, chosen, strict=True))
        for chosen in product(*levels)
        if ratio_of(budget, budget.variables.kept(chosen)) <= ratio
    ]
    return max(fitting)


def test_no_network_within_the_limit_is_worth_more_than_the_bound_and_what_is_found_is_close_to_it():
    gaps = []
    for budget, _, ratio, score in cases():
        choice, best = budget.allocate(score, [ratio]), best_of_all(budget, score, ratio)
        assert choice.value <= best * (1 + 1e-9)
        assert best <= choice.bound * (1 + 1e-9)
        gaps.append(1 - choice.value / best)
    assert max(gaps) < 0.05
    assert sum(gap < 1e-9 for gap in gaps) > 0.8 * len(gaps)


def test_a_full_budget_keeps_everything():
    assert allocate(Budget([chain(6, 4)], TWO, alone(2)), scores((6, 4), 0), 1.0) == [6, 4]


def test_the_more_salient_group_keeps_more():
    budget = Budget([chain(8, 8)], ONE, alone(2))
    low, high = allocate(budget, [torch.full((8,), 0.1), torch.full((8,), 0.9)], 0.5)
    assert high > low


def test_equal_scores_still_meet_the_budget():
    budget = Budget([chain(8, 8)], TWO, alone(2))
    kept = allocate(budget, [torch.zeros(8), torch.zeros(8)], 0.5)
    assert ratio_of(budget, kept) <= 0.5


def test_what_is_allowed_is_also_reached_whatever_the_rounding():
    budget = Budget([chain(9, 7)], ONE, alone(2))
    every = {ratio_of(budget, kept) for kept in product(range(1, 10), range(1, 8))}
    for ratio in sorted(every):
        below = math.nextafter(ratio, 0)
        if below >= ratio_of(budget, budget.least):
            assert ratio_of(budget, allocate(budget, scores((9, 7), 0), below)) <= below


@pytest.mark.parametrize("align", [ONE, TWO])
@pytest.mark.parametrize("ratio", RATIOS)
def test_tied_groups_keep_equally_many_and_no_tie_can_be_raised(align, ratio):
    budget = Budget([chain(6, 5, 6)], align, [[0, 2], [1]])
    if ratio_of(budget, budget.least) > ratio:
        return
    first, other, last = allocate(budget, scores((6, 5, 6), 0), ratio)
    assert first == last
    assert ratio_of(budget, [first, other, last]) <= ratio
    more = [(align.up(first + 1, 6), other), (first, align.up(other + 1, 5))]
    for tied, free in (pair for pair in more if pair != (first, other)):
        assert ratio_of(budget, [tied, free, tied]) > ratio


def test_what_tied_groups_are_worth_is_what_both_are_worth():
    """One of the tied groups is worth a lot, so the untied one between them goes first, and not when none is."""
    budget = Budget([chain(8, 8, 8)], ONE, [[0, 2], [1]])
    low, middle, high = (torch.full((8,), value) for value in (0.1, 0.5, 3.0))
    assert allocate(budget, [low, middle, high], 0.5)[1] < allocate(budget, [low, middle, low], 0.5)[1]


@pytest.mark.parametrize("ratio", [0.0, -0.5, 1.0001, 2, float("nan")])
@pytest.mark.parametrize("kind", ["macs", "params"])
def test_a_share_out_of_range_is_refused(kind, ratio):
    with pytest.raises(UsageError, match=rf"--target-{kind} must lie in \(0, 1\], got"):
        Target(kind, ratio)


def test_heads_are_kept_one_by_one_and_places_inside_of_them_as_their_number_asks():
    budget = Budget([chain(6, 64, 64, places=(64, 12, 1))], Alignment.parse("auto"), alone(3))
    assert budget.least == [1, 2, 8]
    kept = allocate(budget, scores((6, 64, 64), 0), 0.4)
    assert (kept[1] % 2, kept[2] % 8) == (0, 0)
    assert 1 < kept[0] < 6


def test_tied_groups_fill_whole_steps_of_each():
    budget = Budget([chain(8, 8, places=(4, 2))], Alignment(8), [[0, 1]])
    assert budget.least == [4, 4]


def blocks(*branches, width=6):
    """Blocks of two groups each between layers of a width that stays, and a constant in the place of each that goes."""
    layers = [f"{block}.{part}" for block in range(len(branches)) for part in ("in", "mid", "out", "constant")]
    groups = [channels for branch in branches for channels in branch]
    into, out = np.zeros((2, len(layers), len(groups)))
    inputs, outputs = np.full(len(layers), float(width)), np.full(len(layers), float(width))
    for block, (first, second) in enumerate(branches):
        row, column = 4 * block, 2 * block
        outputs[row], inputs[row + 1], outputs[row + 1], inputs[row + 2] = first, first, second, second
        out[row, column] = into[row + 1, column] = out[row + 1, column + 1] = into[row + 2, column + 1] = 1
        inputs[row + 3] = 1
    members = np.kron(np.eye(len(branches), dtype=np.int64), np.ones((1, 2), dtype=np.int64))
    return CostModel(
        layers=tuple(layers),
        channels=np.array(groups, dtype=np.int64),
        places=np.ones(len(groups), dtype=np.int64),
        inputs=inputs,
        outputs=outputs,
        inputs_per_channel=into,
        outputs_per_channel=out,
        per_pair=np.ones(len(layers)),
        fixed=20.0,
        branches=BranchCosts(
            members, members.sum(1), np.arange(len(layers)) // 4, np.array([row.endswith("constant") for row in layers])
        ),
    )


BLOCKS = ((4, 3), (3, 5))


def with_blocks(align=ONE):
    return Budget([blocks(*BLOCKS)], align, alone(4), [(0, 1), (2, 3)])


def test_the_smallest_network_has_constants_in_the_place_of_blocks():
    assert with_blocks().least == [0, 0, 0, 0]
    assert with_blocks().costs[0].total([0, 0, 0, 0]) == 20 + 2 * 6
    assert with_blocks().costs[0].total([0, 0, 2, 3]) == 20 + 6 + 6 * 2 + 2 * 3 + 3 * 6


def test_a_block_without_its_columns_never_goes():
    left = with_blocks().costs[0].of([True, False, True, True])
    assert left.total([0, 3, 5]) == 20 + 3 * 6 + 6 * 3 + 3 * 5 + 5 * 6


@pytest.mark.parametrize("align", [ONE, TWO])
@pytest.mark.parametrize("ratio", [0.15, *RATIOS])
def test_blocks_are_whole_or_gone_within_the_limit_and_no_step_more_fits(align, ratio):
    budget, widths = with_blocks(align), [channels for branch in BLOCKS for channels in branch]
    for seed in range(5):
        if ratio_of(budget, budget.least) > ratio:
            continue
        kept = allocate(budget, scores(widths, seed), ratio)
        assert ratio_of(budget, kept) <= ratio
        for branch in budget.branches:
            assert len({bool(kept[place]) for place in branch}) == 1
            raised = list(kept)
            for place in branch:
                raised[place] = kept[place] or align.up(1, widths[place])
            assert raised == kept or ratio_of(budget, raised) > ratio
        for place, count in enumerate(kept):
            higher = [align.up(more, widths[place]) for more in range(count + 1, widths[place] + 1)] if count else []
            raised = [higher[0] if other == place and higher else n for other, n in enumerate(kept)]
            assert not higher or ratio_of(budget, raised) > ratio


def test_the_block_with_the_best_channel_comes_first():
    worth = [torch.full((channels,), value) for channels, value in zip((4, 3, 3, 5), (1.0, 1.0, 0.5, 2.0), strict=True)]
    budget = with_blocks()
    least_of_second = ratio_of(budget, [0, 0, 1, 1])
    assert allocate(budget, worth, least_of_second) == [0, 0, 1, 1]
