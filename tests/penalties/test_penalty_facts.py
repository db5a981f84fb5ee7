"""What a penalty says about itself: its convexity bound, its threshold, its degree."""

from __future__ import annotations

from math import inf

import pytest
import torch
from torch.linalg import vector_norm

STEPS = [0.0, 1e-4, 0.1, 0.7, 1.0, 2.5, 8.0, 60.0]


def bends(built, step):
    """Second differences of step r(v) + v^2 / 2 on lines of all scales, less what rounding may do."""
    for scale in 10.0 ** torch.arange(-4, 3, dtype=torch.float64):
        line = scale * torch.arange(-1000, 1001, dtype=torch.float64) / 250
        objective = step * torch.vmap(lambda v: built.value(v.reshape(1)))(line) + line**2 / 2
        yield objective.diff(n=2) / (1e-14 * objective.abs().amax())


def is_convex(built, step):
    return all((bend >= -1).all() for bend in bends(built, step))


def test_objective_is_convex_below_the_bound(separable):
    bound = separable.convex_up_to
    steps = [0.0, 1e-3, 1.0, 1e3] if bound == inf else [0.0, 0.5 * bound, 0.99 * bound]
    assert all(is_convex(separable, step) for step in steps)


def test_objective_is_convex_above_the_bound_only_without_one(separable):
    bound = separable.convex_up_to
    steps = [1.1 * bound or 1e-3, 3 * bound or 0.1]
    assert all(is_convex(separable, min(step, 1e3)) == (bound == inf) for step in steps)


def test_bound_holds_between_pairs_of_entries(elementwise):
    generator = torch.Generator().manual_seed(0)
    scales = 10.0 ** (-6 * torch.rand(4000, 1, 1, generator=generator, dtype=torch.float64))
    first, second = scales * torch.randn(2, 4000, 1, 2, generator=generator, dtype=torch.float64)
    second[::2] = 0
    bound = elementwise.convex_up_to
    step = min(0.99 * bound, 10.0) if bound else 0.1
    at = [step * torch.vmap(elementwise.value)(v) + (v**2).sum((1, 2)) / 2 for v in (first, second)]
    middle = step * torch.vmap(elementwise.value)((first + second) / 2) + ((first + second) ** 2).sum((1, 2)) / 8
    above = middle - (at[0] + at[1]) / 2
    assert bool((above > 1e-12).any()) == (bound == 0)


@pytest.mark.parametrize("step", STEPS)
def test_threshold_is_where_the_prox_leaves_zero(separable, step):
    threshold = separable.threshold(step)
    x = torch.tensor([threshold * (1 - 1e-6), threshold * (1 + 1e-6) + 1e-12], dtype=torch.float64)
    below, above = separable.prox(x, step)
    assert float(below) == 0
    assert float(above) > 0


@pytest.mark.parametrize("step", STEPS)
def test_threshold_of_a_group_is_on_its_norm(rowwise, step):
    row = torch.tensor([[0.6, -0.8, 0.0]], dtype=torch.float64)
    threshold = rowwise.phi.threshold(step)
    assert not rowwise.prox(row * threshold * (1 - 1e-6), step).any()
    assert rowwise.prox(row * (threshold * (1 + 1e-6) + 1e-12), step).any()


def test_group_prox_shrinks_along_the_row(rowwise, rows):
    found = rowwise.prox(rows, 0.4)
    expected = rowwise.phi.prox(vector_norm(rows, dim=1), 0.4)
    torch.testing.assert_close(vector_norm(found, dim=1), expected)
    torch.testing.assert_close(found * vector_norm(rows, dim=1, keepdim=True), rows * expected[:, None])


def test_degree_says_how_the_value_grows(elementwise, rows):
    growth = torch.stack([elementwise.value(3 * part) / elementwise.value(part) for part in (rows, rows / 50)])
    if elementwise.degree is None:
        assert not torch.isclose(growth[0], growth[1], rtol=1e-3)
    else:
        torch.testing.assert_close(growth, torch.full_like(growth, 3**elementwise.degree))


def test_degree_moves_a_scale_from_the_tensor_into_the_step(elementwise, rows):
    if elementwise.degree is not None:
        scaled = 5 * elementwise.prox(rows / 5, 0.3)
        torch.testing.assert_close(elementwise.prox(rows, 0.3 * 5 ** (2 - elementwise.degree)), scaled)
