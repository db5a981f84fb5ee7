from __future__ import annotations

import pytest
import torch

from compressor.penalties import GROUP_PENALTIES, PENALTIES, group_penalty

SUBGRADIENTS = [("lasso", {}), ("cges", {}), ("cges", {"mu": 0.0}), ("cges", {"mu": 0.2}), ("cges", {"mu": 1.0})]
W = torch.tensor([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0], [1.0, 2.0, 2.0]], dtype=torch.float64)

every_subgradient = pytest.mark.parametrize(("name", "options"), SUBGRADIENTS, ids=str)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lasso", {}, 5 + 3),
        ("l0", {}, 2),
        ("transformed-l1", {}, 2 * 5 / 6 + 2 * 3 / 4),
        ("mcp", {"a": 4.0}, 2 + (3 - 9 / 8)),
        ("scad", {"a": 4.0}, 2.5 + (24 - 9 - 1) / 6),
        ("lp", {}, 5**0.5 + 3**0.5),
        ("lp", {"p": "2/3"}, 5 ** (2 / 3) + 3 ** (2 / 3)),
        ("cges", {"mu": 0.25}, 0.75 * 8 + 0.125 * (49 + 25)),
    ],
)
def test_value_of_rows_of_norm_five_zero_and_three(name, options, expected):
    assert float(group_penalty(name, **options).value(W)) == pytest.approx(expected, abs=1e-12)


@every_subgradient
def test_subgradient_is_the_gradient_of_the_value(name, options):
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    built = group_penalty(name, **options)
    (expected,) = torch.autograd.grad(built.value(rows), rows)
    torch.testing.assert_close(built.subgradient(rows.detach()), expected)


@every_subgradient
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_subgradient_of_a_zero_row_is_zero(name, options, dtype):
    found = group_penalty(name, **options).subgradient(W.to(dtype))
    assert found.isfinite().all()
    assert not found[1].any()
    assert (found.shape, found.dtype) == (W.shape, dtype)


@every_subgradient
def test_subgradient_supports_the_value_from_below(name, options):
    built, generator = group_penalty(name, **options), torch.Generator().manual_seed(0)
    for other in 3 * torch.randn(50, *W.shape, generator=generator, dtype=torch.float64):
        assert built.value(other) >= built.value(W) + (built.subgradient(W) * (other - W)).sum() - 1e-12


def test_lasso_divides_rows_by_their_norms():
    expected = torch.tensor([[0.6, 0.0, -0.8], [0.0, 0.0, 0.0], [1 / 3, 2 / 3, 2 / 3]], dtype=torch.float64)
    torch.testing.assert_close(group_penalty("lasso").subgradient(W), expected)


def test_lasso_shortens_rows_by_the_step():
    expected = torch.tensor([[0.6, 0.0, -0.8], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(group_penalty("lasso").prox(W, 4.0), expected)


def test_cges_without_an_exclusive_part_is_the_lasso():
    without, lasso = group_penalty("cges", mu=0), group_penalty("lasso")
    assert float(without.value(W)) == float(lasso.value(W))
    assert torch.equal(without.subgradient(W), lasso.subgradient(W))


def test_cges_has_no_prox():
    assert not hasattr(group_penalty("cges"), "prox")


@pytest.mark.parametrize("name", sorted(set(GROUP_PENALTIES) & set(PENALTIES)))
def test_group_of_one_entry_is_an_entry(name):
    built, x = group_penalty(name), torch.linspace(-4, 4, 33, dtype=torch.float64)
    torch.testing.assert_close(built.prox(x[:, None], 0.6)[:, 0], built.phi.prox(x, 0.6))


def test_extreme_rows_do_not_overflow():
    rows = torch.tensor([[1e15, -1e15], [1e-15, 1e-15]])
    torch.testing.assert_close(group_penalty("l0").prox(rows, 1e-3), rows * torch.tensor([[1.0], [0.0]]))
