"""The search for how channels are spread over groups: what it may try, and what it finds."""

from __future__ import annotations

import math

import pytest
import torch

from compressor.splitting.spreading import spread

ONE, TWO, THREE = (torch.rand(8, generator=torch.Generator().manual_seed(seed)) + 0.1 for seed in range(3))
SCORES = [ONE, TWO, THREE]
APART = [[0], [1], [2]]


def choose(scores, total=12):
    """The best channels of all groups, at least one of each."""
    kept = [1] * len(scores)
    rest = sorted(
        (
            (float(value), group)
            for group, score in enumerate(scores)
            for value in score.sort(descending=True).values[1:]
        ),
        reverse=True,
    )
    for _, group in rest[: total - len(scores)]:
        kept[group] += 1
    return kept


def away_from(wanted):
    return lambda kept: float(sum((a - b) ** 2 for a, b in zip(kept, wanted, strict=True)))


@pytest.mark.parametrize("wanted", [(8, 3, 1), (2, 2, 8), (4, 4, 4), (1, 4, 7)])
def test_it_finds_what_loses_nothing(wanted):
    found = spread(SCORES, APART, choose, away_from(wanted), most=200)
    assert tuple(choose(found.scores)) == wanted
    assert found.loss == 0
    assert found.first == away_from(wanted)(choose(SCORES))


@pytest.mark.parametrize("most", [1, 2, 7])
def test_no_more_is_tried_than_asked_and_nothing_twice(most):
    seen, loss = [], away_from((1, 4, 7))

    def noted(kept):
        seen.append(kept)
        return loss(kept)

    found = spread(SCORES, APART, choose, noted, most=most)
    assert found.tried == len(seen) == len(set(seen)) <= most
    assert found.loss == min(map(loss, seen))


def test_with_one_try_the_saliency_alone_decides():
    found = spread(SCORES, APART, choose, lambda kept: 1.0, most=1)
    assert all(torch.equal(a, b) for a, b in zip(found.scores, SCORES, strict=True))
    assert found.first == found.loss == 1.0


def test_nothing_is_gained_where_all_lose_the_same():
    found = spread(SCORES, APART, choose, lambda kept: 1.0, most=50)
    assert all(torch.equal(a, b) for a, b in zip(found.scores, SCORES, strict=True))


def test_a_network_without_numbers_is_never_best():
    first = tuple(choose(SCORES))
    found = spread(SCORES, APART, choose, lambda kept: 1.0 if kept == first else math.nan, most=50)
    assert tuple(choose(found.scores)) == first
    assert found.loss == 1.0


def test_when_none_has_numbers_the_saliency_decides():
    found = spread(SCORES, APART, choose, lambda kept: math.nan, most=50)
    assert found.loss == math.inf
    assert all(torch.equal(a, b) for a, b in zip(found.scores, SCORES, strict=True))


def test_groups_that_belong_together_get_one_factor():
    found = spread(SCORES, [[0, 2], [1]], choose, away_from((5, 2, 5)), most=200)
    factors = [float((after / before).log()[0]) for before, after in zip(SCORES, found.scores, strict=True)]
    assert factors[0] == pytest.approx(factors[2], abs=1e-5)
    assert factors[1] != pytest.approx(factors[0], abs=1e-3)


def order_of(seed):
    seen = []

    def noted(kept):
        seen.append(kept)
        return 1.0

    spread(SCORES, APART, choose, noted, most=9, seed=seed)
    return tuple(seen)


def test_the_seed_draws_the_order():
    assert order_of(0) == order_of(0)
    assert len({order_of(seed) for seed in range(6)}) > 1
