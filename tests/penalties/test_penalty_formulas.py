from __future__ import annotations

from itertools import product

import pytest
import torch

from compressor.errors import UnknownName, UsageError
from compressor.penalties import PENALTIES, penalty

INPUTS = torch.linspace(-7, 7, 141, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("l0", {}, 2),
        ("l1", {}, 7),
        ("l1-l2", {}, 2),
        ("l1-l2", {"alpha": 0.5}, 4.5),
        ("transformed-l1", {}, 2 * 3 / 4 + 2 * 4 / 5),
        ("transformed-l1", {"a": 3.0}, 4 * 3 / 6 + 4 * 4 / 7),
    ],
)
def test_value_of_three_and_minus_four_is_the_formulas(name, options, expected):
    w = torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)
    assert float(penalty(name, **options).value(w)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("x", "expected"), [(3.0, 2.5), (-3.0, -2.5), (0.5, 0.0), (0.2, 0.0)])
def test_l1_shrinks_by_the_step(x, expected):
    assert float(penalty("l1").prox(torch.tensor([x]), 0.5)) == expected


@pytest.mark.parametrize(("x", "expected"), [(1.01, 1.01), (0.99, 0.0), (-1.01, -1.01)])
def test_l0_keeps_what_is_above_the_root_of_twice_the_step(x, expected):
    assert float(penalty("l0").prox(torch.tensor([x], dtype=torch.float64), 0.5)) == expected


def test_l1_l2_rescales_the_soft_threshold():
    found = penalty("l1-l2").prox(torch.tensor([4.0, -5.0, 0.5], dtype=torch.float64), 1.0)
    # Soft threshold (3, -4, 0) of norm 5, lengthened by one step.
    torch.testing.assert_close(found, torch.tensor([3.6, -4.8, 0.0], dtype=torch.float64))


@pytest.mark.parametrize(("alpha", "expected"), [(1.0, -0.9), (0.6, -0.5), (0.2, -0.1), (0.1, 0.0), (0.0, 0.0)])
def test_l1_l2_keeps_one_entry_when_none_exceeds_the_step(alpha, expected):
    x = torch.tensor([0.4, -0.9, 0.8], dtype=torch.float64)
    found = penalty("l1-l2", alpha=alpha).prox(x, 1.0)
    torch.testing.assert_close(found, torch.tensor([0.0, expected, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("x", [[0.5, 0.5], [0.5, -0.5], [-0.5, -0.5, 0.5]])
def test_l1_l2_keeps_exactly_one_of_tied_entries(x):
    assert int((penalty("l1-l2").prox(torch.tensor(x), 1.0) != 0).sum()) == 1


def test_l1_l2_keeps_ties_above_the_step_equal():
    found = penalty("l1-l2").prox(torch.tensor([2.0, -2.0, 2.0], dtype=torch.float64), 1.0)
    expected = 1 + 1 / 3**0.5
    torch.testing.assert_close(found, expected * torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))


@pytest.mark.parametrize("step", [0.0, 0.1, 1.0, 8.0])
def test_l1_l2_without_alpha_is_l1(step):
    torch.testing.assert_close(penalty("l1-l2", alpha=0.0).prox(INPUTS, step), penalty("l1").prox(INPUTS, step))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("a", [1e6, 1e9, 1e12])
def test_transformed_l1_of_a_large_shape_is_l1(a, dtype):
    found = penalty("transformed-l1", a=a).prox(INPUTS.to(dtype), 0.3)
    torch.testing.assert_close(found, penalty("l1").prox(INPUTS.to(dtype), 0.3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("a", [1e-6, 1e-9])
def test_transformed_l1_of_a_small_shape_is_l0(a):
    found = penalty("transformed-l1", a=a).prox(INPUTS, 0.3)
    torch.testing.assert_close(found, penalty("l0").prox(INPUTS, 0.3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("a", "step"), list(product([0.5, 1.0, 3.0], [0.01, 0.08, 0.3, 2.0])))
def test_transformed_l1_cuts_at_the_theorems_threshold(a, step):
    continuous = step <= a * a / (2 * (a + 1))
    threshold = step * (a + 1) / a if continuous else (2 * step * (a + 1)) ** 0.5 - a / 2
    below, above = penalty("transformed-l1", a=a).prox(
        torch.tensor([threshold * (1 - 1e-6), threshold * (1 + 1e-6)], dtype=torch.float64), step
    )
    assert float(below) == 0
    assert float(above) > 0


def test_transformed_l1_is_stationary_where_it_is_not_zero():
    found = penalty("transformed-l1", a=2.0).prox(INPUTS, 0.4)
    kept = found != 0
    slope = 0.4 * 3.0 * 2.0 / (2.0 + found.abs()) ** 2 * found.sign()
    torch.testing.assert_close((found - INPUTS + slope)[kept], torch.zeros(int(kept.sum()), dtype=torch.float64))


@pytest.mark.parametrize("a", [0.0, -1.0, float("nan"), float("inf")])
def test_transformed_l1_needs_a_positive_finite_shape(a):
    with pytest.raises(UsageError, match=f"a of transformed-l1 must be positive and finite, got {a}"):
        penalty("transformed-l1", a=a)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_l1_l2_needs_an_alpha_between_zero_and_one(alpha):
    with pytest.raises(UsageError, match=rf"alpha of l1-l2 must lie in \[0, 1\], got {alpha}"):
        penalty("l1-l2", alpha=alpha)


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_unknown_option_is_refused_with_those_there_are(name):
    with pytest.raises(UsageError, match=f"penalty '{name}' has no option 'nonsense'; it takes "):
        penalty(name, nonsense=1.0)


def test_unknown_penalty_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"no penalty is called 'l1-l3'. Did you mean 'l1-l2'"):
        penalty("l1-l3")
