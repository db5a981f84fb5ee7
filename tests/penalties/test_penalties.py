from __future__ import annotations

from functools import cache
from itertools import pairwise, product

import pytest
import torch

INPUTS = torch.linspace(-7, 7, 141, dtype=torch.float64)
LINE = torch.linspace(-9, 9, 9_001, dtype=torch.float64)
PLANE = torch.cartesian_prod(*[torch.linspace(-3, 3, 121, dtype=torch.float64)] * 2)


def generator():
    return torch.Generator().manual_seed(0)


@cache
def values(built, points):
    """The penalty of each entry, or of each row."""
    return torch.vmap(lambda row: built.value(row.reshape(1, -1)))(points)


def cost(built, step, points, x):
    distance = (points - x) ** 2
    return step * values.__wrapped__(built, points) + 0.5 * (distance if points.ndim == 1 else distance.sum(1))


def pairs():
    """Pairs in all relations to the steps: random, tied, on an axis, zero."""
    random = 2.5 * torch.randn(16, 2, generator=generator(), dtype=torch.float64)
    special = [[1, 1], [-1, 1], [2, -2], [0.1, 0.1], [1, 0], [0, -2], [0.05, 0], [0, 0], [1, 0.999], [0.25, -0.1]]
    return torch.cat([random.clamp(-2.9, 2.9), torch.tensor(special, dtype=torch.float64)])


def test_prox_beats_every_point_of_a_line(line_problem):
    built, step = line_problem
    weighted = step * values(built, LINE)
    best = torch.stack([(weighted + 0.5 * (LINE - x) ** 2).amin() for x in INPUTS])
    assert (cost(built, step, built.prox(INPUTS, step), INPUTS) - best).max() <= 1e-9


def test_prox_beats_every_point_of_a_plane(plane_problem):
    built, step = plane_problem
    weighted = step * values(built, PLANE)
    for x in pairs():
        best = (weighted + 0.5 * ((PLANE - x) ** 2).sum(1)).amin()
        assert cost(built, step, built.prox(x[None], step), x) <= best + 1e-9, x


def test_prox_of_six_entries_beats_its_neighbours(problem):
    built, step = problem
    x = 1.5 * torch.randn(1, 6, generator=generator(), dtype=torch.float64)
    found = built.prox(x, step)
    directions = torch.randn(300, 6, generator=generator(), dtype=torch.float64)
    points = torch.cat([found + distance * directions for distance in (1e-2, 1e-4, 1e-6)])
    assert cost(built, step, found, x) <= cost(built, step, points, x).amin() + 1e-12


def test_separable_penalty_treats_every_entry_alone(separable):
    alone = torch.stack([separable.prox(x.reshape(1), 0.3)[0] for x in INPUTS[::5]])
    torch.testing.assert_close(separable.prox(INPUTS, 0.3)[::5], alone, rtol=0, atol=1e-14)


def test_group_penalty_treats_every_row_alone(rowwise, rows):
    alone = torch.cat([rowwise.prox(row[None], 0.3) for row in rows])
    torch.testing.assert_close(rowwise.prox(rows, 0.3), alone, rtol=0, atol=1e-14)


def test_shape_of_a_tensor_is_of_no_account(elementwise):
    x = torch.randn(2, 3, 4, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(elementwise.prox(x, 0.4).flatten(1), elementwise.prox(x.flatten(1), 0.4))


def test_memory_format_is_of_no_account(elementwise):
    x = torch.randn(2, 3, 4, 5, generator=generator(), dtype=torch.float64)
    turned = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(elementwise.prox(turned, 0.4), elementwise.prox(x, 0.4))


def test_prox_is_odd(built, steps, rows):
    # Of two tied entries one is kept, which one is of no account; so without ties.
    for step in steps:
        torch.testing.assert_close(built.prox(-rows[:40], step), -built.prox(rows[:40], step))


def test_no_entry_grows_or_changes_sign(built, steps, rows):
    for step in steps:
        found = built.prox(rows, step)
        assert (found.abs() <= rows.abs() + 1e-12).all(), step
        assert (found * rows >= 0).all(), step


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_in_gives_zero_out(built, steps, dtype):
    zeros = torch.zeros(3, 5, dtype=dtype)
    assert all(torch.equal(built.prox(zeros, step), zeros) for step in steps)


def test_zero_rows_stay_zero_beside_others(built, steps, rows):
    assert not any(built.prox(rows, step)[(rows == 0).all(1)].any() for step in steps)


def test_step_of_zero_changes_nothing(built, rows):
    torch.testing.assert_close(built.prox(rows, 0.0), rows, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prox_is_finite_at_every_scale(built, dtype):
    x = torch.tensor([[0.0, 1.0, -2.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.0]], dtype=dtype)
    for scale, step in product(10.0 ** torch.arange(-15, 16, 3, dtype=dtype), [0.0, 1e-12, 1.0, 1e12]):
        assert built.prox(scale * x, step).isfinite().all(), (scale, step)


def test_prox_does_not_hide_what_is_not_a_number(built):
    x = torch.tensor([[1.0, float("nan")]])
    assert built.prox(x, 0.5).isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prox_leaves_its_input_alone_and_keeps_its_kind(built, rows, dtype):
    x = rows.to(dtype)
    before = x.clone()
    found = built.prox(x, 0.5)
    assert torch.equal(x, before)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert found.data_ptr() != x.data_ptr()


def test_float32_agrees_with_float64(built, steps, rows):
    x = rows.float()
    for step in steps:
        expected = built.prox(x.double(), step).float()
        torch.testing.assert_close(built.prox(x, step), expected, rtol=1e-5, atol=2e-6)


def test_larger_steps_leave_no_more_entries(built, steps, rows):
    left = [int((built.prox(rows, step) != 0).sum()) for step in sorted(steps)]
    assert all(after <= before for before, after in pairwise(left))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_is_a_scalar_of_the_same_dtype_and_zero_at_zero(built, dtype):
    value = built.value(torch.zeros(2, 3, dtype=dtype))
    assert (value.shape, value.dtype, float(value)) == ((), dtype, 0.0)
