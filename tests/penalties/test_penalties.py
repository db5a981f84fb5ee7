from __future__ import annotations

from functools import cache
from itertools import pairwise, product

import pytest
import torch

from compressor.penalties import PENALTIES, penalty

# Parameters beside the defaults; the defaults of every registered penalty are tested unasked.
OTHERS = {
    "l1-l2": [{"alpha": 0.0}, {"alpha": 0.3}, {"alpha": 0.9}],
    "transformed-l1": [{"a": 0.01}, {"a": 0.1}, {"a": 3.0}, {"a": 100.0}],
}
CASES = [(name, {}) for name in sorted(PENALTIES)] + [(name, o) for name, many in OTHERS.items() for o in many]
SEPARABLE = [case for case in CASES if penalty(case[0]).separable]
WHOLE = [case for case in CASES if not penalty(case[0]).separable]
# On both sides of the bounds up to which the proxes are continuous (transformed-l1: a^2 / (2 (a + 1))).
STEPS = [0.0, 1e-4, 0.004, 0.005, 0.1, 0.249, 0.25, 0.251, 1.0, 1.12, 1.13, 2.9, 3.1, 8.0]
INPUTS = torch.linspace(-7, 7, 141, dtype=torch.float64)
GRID = torch.linspace(-9, 9, 9_001, dtype=torch.float64)
PLANE = torch.cartesian_prod(*[torch.linspace(-3, 3, 121, dtype=torch.float64)] * 2)

every_case = pytest.mark.parametrize(("name", "options"), CASES, ids=str)
every_separable = pytest.mark.parametrize(("name", "options"), SEPARABLE, ids=str)
every_whole = pytest.mark.parametrize(("name", "options"), WHOLE, ids=str)
every_step = pytest.mark.parametrize("step", STEPS)


def generator():
    return torch.Generator().manual_seed(0)


def entries(built, x):
    """The penalty of each entry, and of each row of a matrix."""
    return torch.vmap(built.value)(x.unsqueeze(-1) if x.ndim == 1 else x)


@cache
def on_grid(name, options):
    return entries(penalty(name, **dict(options)), GRID if penalty(name).separable else PLANE)


def pairs():
    """Pairs in all relations to the steps: random, tied, on an axis, zero."""
    random = 2.5 * torch.randn(16, 2, generator=generator(), dtype=torch.float64)
    special = [[1, 1], [-1, 1], [2, -2], [0.1, 0.1], [1, 0], [0, -2], [0.05, 0], [0, 0], [1, 0.999], [0.25, -0.1]]
    return torch.cat([random.clamp(-2.9, 2.9), torch.tensor(special, dtype=torch.float64)])


@every_separable
@every_step
def test_prox_beats_every_point_of_a_line(name, options, step):
    built = penalty(name, **options)
    found = built.prox(INPUTS, step)
    cost = step * entries(built, found) + 0.5 * (found - INPUTS) ** 2
    values = step * on_grid(name, tuple(options.items()))
    best = torch.stack([(values + 0.5 * (GRID - x) ** 2).amin() for x in INPUTS])
    assert (cost - best).max() <= 1e-9


@every_whole
@every_step
def test_prox_beats_every_point_of_a_plane(name, options, step):
    built = penalty(name, **options)
    values = step * on_grid(name, tuple(options.items()))
    for x in pairs():
        found = built.prox(x, step)
        cost = step * built.value(found) + 0.5 * ((found - x) ** 2).sum()
        assert cost <= (values + 0.5 * ((PLANE - x) ** 2).sum(1)).amin() + 1e-9, x


@every_case
@every_step
def test_prox_of_six_entries_beats_its_neighbours(name, options, step):
    built = penalty(name, **options)
    x = 1.5 * torch.randn(6, generator=generator(), dtype=torch.float64)
    found = built.prox(x, step)
    directions = torch.randn(300, 6, generator=generator(), dtype=torch.float64)
    points = torch.cat([found + distance * directions for distance in (1e-2, 1e-4, 1e-6)])
    cost = step * built.value(found) + 0.5 * ((found - x) ** 2).sum()
    assert cost <= (step * entries(built, points) + 0.5 * ((points - x) ** 2).sum(1)).amin() + 1e-12


@every_separable
def test_separable_penalty_treats_every_entry_alone(name, options):
    built = penalty(name, **options)
    alone = torch.stack([built.prox(x.reshape(1), 0.3)[0] for x in INPUTS[::5]])
    torch.testing.assert_close(built.prox(INPUTS, 0.3)[::5], alone, rtol=0, atol=1e-14)


@every_case
def test_shape_of_a_tensor_is_of_no_account(name, options):
    x = torch.randn(2, 3, 4, generator=generator(), dtype=torch.float64)
    built = penalty(name, **options)
    torch.testing.assert_close(built.prox(x, 0.4).flatten(), built.prox(x.flatten(), 0.4))


@every_case
def test_prox_is_odd(name, options):
    built = penalty(name, **options)
    for step in STEPS:
        torch.testing.assert_close(built.prox(-INPUTS[:60], step), -built.prox(INPUTS[:60], step))


@every_case
def test_no_entry_grows_or_changes_sign(name, options):
    for step in STEPS:
        found = penalty(name, **options).prox(INPUTS, step)
        assert (found.abs() <= INPUTS.abs() + 1e-12).all(), step
        assert (found * INPUTS >= 0).all(), step


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_in_gives_zero_out(name, options, dtype):
    zeros = torch.zeros(5, dtype=dtype)
    assert all(torch.equal(penalty(name, **options).prox(zeros, step), zeros) for step in STEPS)


@every_case
def test_step_of_zero_changes_nothing(name, options):
    torch.testing.assert_close(penalty(name, **options).prox(INPUTS, 0.0), INPUTS, rtol=0, atol=1e-14)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prox_is_finite_at_every_scale(name, options, dtype):
    built = penalty(name, **options)
    for scale, step in product(10.0 ** torch.arange(-15, 16, 3, dtype=dtype), [0.0, 1e-12, 1.0, 1e12]):
        assert built.prox(scale * torch.tensor([0.0, 1.0, -2.0], dtype=dtype), step).isfinite().all(), (scale, step)


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prox_leaves_its_input_alone_and_keeps_its_kind(name, options, dtype):
    x = torch.randn(4, 3, 2, 2, generator=generator(), dtype=dtype)
    before = x.clone()
    found = penalty(name, **options).prox(x, 0.5)
    assert torch.equal(x, before)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert found.data_ptr() != x.data_ptr()


@every_case
def test_float32_agrees_with_float64(name, options):
    x = 2 * torch.randn(200, generator=generator(), dtype=torch.float32)
    built = penalty(name, **options)
    for step in STEPS:
        torch.testing.assert_close(built.prox(x, step), built.prox(x.double(), step).float(), rtol=1e-5, atol=2e-6)


@every_case
def test_larger_steps_leave_no_more_entries(name, options):
    built = penalty(name, **options)
    left = [int((built.prox(INPUTS, step) != 0).sum()) for step in sorted(STEPS)]
    assert all(after <= before for before, after in pairwise(left))


@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_is_a_scalar_of_the_same_dtype_and_zero_at_zero(name, options, dtype):
    value = penalty(name, **options).value(torch.zeros(2, 3, dtype=dtype))
    assert (value.shape, value.dtype, float(value)) == ((), dtype, 0.0)


def test_extra_parameters_belong_to_registered_penalties():
    assert set(OTHERS) <= set(PENALTIES)
