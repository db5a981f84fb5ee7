from __future__ import annotations

from itertools import product
from math import acos, acosh, cos, cosh, pi, sqrt
from typing import Any

import pytest
import torch

from compressor.penalties import PENALTIES, penalty
from compressor.penalties.scaled import Scaled

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
        ("l1-l2", {"over": "channel"}, 0),
        ("lp", {}, sqrt(3) + 2),
        ("lp", {"p": "2/3"}, 9 ** (1 / 3) + 16 ** (1 / 3)),
        ("mcp", {}, 1.5 + 1.5),
        ("mcp", {"a": 8.0}, (3 - 9 / 16) + 3),
        ("scad", {}, (22.2 - 9 - 1) / 5.4 + 2.35),
        ("scad", {"a": 2.5}, 1.75 + 1.75),
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


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("step", [0.1, 1.0, 8.0])
def test_l1_l2_over_the_channels_of_one_row_is_over_the_tensor(alpha, step):
    over = [penalty("l1-l2", alpha=alpha, over=over).prox(INPUTS[None, ::10], step) for over in ("channel", "tensor")]
    torch.testing.assert_close(*over)


def test_l1_l2_over_channels_takes_the_norm_of_each():
    x = torch.tensor([[4.0, -5.0, 0.5], [0.4, -0.9, 0.8], [0.0, 0.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[3.6, -4.8, 0.0], [0.0, -0.9, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(penalty("l1-l2", over="channel").prox(x, 1.0), expected)


@pytest.mark.parametrize("name", ["mcp", "scad"])
def test_mcp_and_scad_of_a_large_shape_are_l1(name):
    found = penalty(name, a=1e9).prox(INPUTS, 0.8)
    torch.testing.assert_close(found, penalty("l1").prox(INPUTS, 0.8), rtol=0, atol=1e-6)


@pytest.mark.parametrize("step", [3.0, 5.0])
def test_mcp_beyond_its_bound_is_a_hard_threshold(step):
    torch.testing.assert_close(penalty("mcp").prox(INPUTS, step), penalty("l0").prox(INPUTS, 1.5 * step))


def test_mcp_is_a_line_up_to_its_shape_and_the_identity_beyond():
    x = torch.tensor([0.5, -2.0, 3.0, -5.0], dtype=torch.float64)
    expected = torch.tensor([0.0, -1.5, 3.0, -5.0], dtype=torch.float64)
    torch.testing.assert_close(penalty("mcp").prox(x, 1.0), expected)


def test_scad_is_a_soft_threshold_then_a_line_then_the_identity():
    x = torch.tensor([0.4, -1.2, 2.0, -4.0, 6.0], dtype=torch.float64)
    expected = torch.tensor([0.0, -0.7, (3 * 2.0 - 4 * 0.5) / 2.5, -4.0, 6.0], dtype=torch.float64)
    torch.testing.assert_close(penalty("scad", a=4).prox(x, 0.5), expected)


@pytest.mark.parametrize(("step", "jump"), [(3.0, 4.0), (4.0, 4.5), (5.0, 5.0), (8.0, sqrt(40))])
def test_scad_jumps_to_the_identity_beyond_its_bound(step, jump):
    built = penalty("scad", a=4)
    below, above = built.prox(torch.tensor([jump - 1e-9, jump + 1e-9], dtype=torch.float64), step)
    assert float(below) == pytest.approx(max(jump - step, 0), abs=1e-8)
    assert float(above) == pytest.approx(jump, abs=1e-8)


def half_threshold(x, lam):
    """Xu et al. 2012: the minimiser of (v - x)^2 + lam sqrt(v), x > 0."""
    if x <= 54 ** (1 / 3) / 4 * lam ** (2 / 3):
        return 0.0
    return 2 / 3 * x * (1 + cos(2 * pi / 3 - 2 / 3 * acos(lam / 8 * (x / 3) ** -1.5)))


def two_thirds_threshold(x, lam):
    """Cao, Sun and Xu 2013: the minimiser of (v - x)^2 + lam v^(2/3), x > 0."""
    if x <= 2 / 3 * (3 * lam**3) ** 0.25:
        return 0.0
    size = 2 / sqrt(3) * lam**0.25 * sqrt(cosh(acosh(27 / 16 * x * x * lam**-1.5) / 3))
    return ((size + sqrt(2 * x / size - size * size)) / 2) ** 3


@pytest.mark.parametrize(("p", "formula"), [("1/2", half_threshold), ("2/3", two_thirds_threshold)])
@pytest.mark.parametrize("step", [1e-3, 0.1, 1.0, 4.0])
def test_lp_is_the_formula_of_its_paper(p, formula, step):
    x = INPUTS[INPUTS > 0.01]
    expected = torch.tensor([formula(float(entry), 2 * step) for entry in x], dtype=torch.float64)
    torch.testing.assert_close(penalty("lp", p=p).prox(x, step), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(("p", "lands"), [("1/2", 2 / 3), ("2/3", 1 / 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [1e-6, 0.3, 1e3])
def test_lp_jumps_to_its_share_of_the_threshold(p, lands, dtype, step):
    built: Any = penalty("lp", p=p)
    just_above = torch.tensor([built.threshold(step) * (1 + 1e-6)], dtype=dtype)
    torch.testing.assert_close(built.prox(just_above, step), lands * just_above, rtol=1e-5, atol=0)


def papers_scad(x, tau, a=3.7):
    size = abs(x)
    sign = 1 if x > 0 else -1
    if size <= 2 * tau:
        return sign * max(size - tau, 0)
    return ((a - 1) * x - sign * a * tau) / (a - 2) if size <= a * tau else x


def papers_mcp(x, tau, a=3.0):
    size = abs(x)
    if size <= tau:
        return 0.0
    return (1 if x > 0 else -1) * (size - tau) / (1 - 1 / a) if size <= a * tau else x


@pytest.mark.parametrize(("name", "formula"), [("scad", papers_scad), ("mcp", papers_mcp)])
@pytest.mark.parametrize("tau", [1e-4, 0.3, 1.0, 2.0, 40.0])
def test_scaled_scad_and_mcp_are_the_papers_formulas(name, formula, tau):
    expected = torch.tensor([formula(float(x), tau) for x in INPUTS], dtype=torch.float64)
    torch.testing.assert_close(Scaled(penalty(name)).prox(INPUTS, tau), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["l1", "l1-l2"])
def test_scaled_penalty_of_degree_one_is_the_penalty(name):
    torch.testing.assert_close(Scaled(penalty(name)).prox(INPUTS, 0.7), penalty(name).prox(INPUTS, 0.7))


@pytest.mark.parametrize("name", sorted(PENALTIES))
@pytest.mark.parametrize("tau", [0.02, 0.9, 3.0])
def test_scaled_prox_minimises_the_scaled_value(name, tau):
    built, generator = Scaled(penalty(name)), torch.Generator().manual_seed(0)
    x = 3 * torch.randn(5, generator=generator, dtype=torch.float64)
    found = built.prox(x, tau)
    steps = torch.tensor([2.0, 0.3, 1e-2, 1e-4], dtype=torch.float64).repeat_interleave(100)[:, None]
    points = found + steps * torch.randn(400, 5, generator=generator, dtype=torch.float64)
    cost = [built.value(v, tau) + 0.5 * ((v - x) ** 2).sum() for v in (found, torch.zeros_like(x), *points)]
    assert cost[0] <= min(cost) + 1e-12


def test_scaled_by_zero_penalises_nothing():
    built = Scaled(penalty("scad"))
    found = built.prox(INPUTS, 0.0)
    assert torch.equal(found, INPUTS)
    assert found.data_ptr() != INPUTS.data_ptr()
    assert float(built.value(INPUTS, 0.0)) == 0


@pytest.mark.parametrize(
    ("name", "convex"), [("l1", True), ("mcp", True), ("scad", True), ("l0", False), ("lp", False)]
)
def test_scaled_is_convex_for_every_tau_or_for_none(name, convex):
    assert (Scaled(penalty(name)).convex_up_to > 1e9) == convex
