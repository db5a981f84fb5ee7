from __future__ import annotations

import pytest
import relu_teacher
import torch
from relu_teacher import STEPS, THRESHOLD, K, gradient, limit_residual, loss, run, sweep
from teacher_student import Splitting, angle, draw, same_support, unit

from compressor.penalties import penalty

every_penalty = pytest.mark.parametrize("name", sorted(STEPS))


def students(rows=4, d=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, d, generator=generator, dtype=torch.float64)


def within_five_errors(samples, expected):
    error = samples.std(0) / len(samples) ** 0.5
    return ((samples.mean(0) - expected).abs() <= 5 * error).all()


def outputs(w, z):
    return torch.einsum("nkd,d->nk", z, w).relu().mean(1)


@pytest.mark.parametrize("k", [1, 2, 10])
def test_the_gradient_is_that_of_the_loss(k):
    w, teacher = students()
    w.requires_grad_()
    (found,) = torch.autograd.grad(loss(w, teacher, k=k).sum(), w)
    torch.testing.assert_close(gradient(w.detach(), teacher, k=k), found)


def test_the_loss_is_the_mean_over_gaussian_inputs():
    (w,), (teacher,) = students(rows=1, d=5)
    z = torch.randn(100_000, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = (outputs(w, z) - outputs(teacher, z)).square()
    assert within_five_errors(errors, loss(w[None], teacher[None], k=3)[0])


def test_the_gradient_is_the_mean_over_gaussian_inputs():
    (w,), (teacher,) = students(rows=1, d=5)
    z = torch.randn(100_000, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    error = outputs(w, z) - outputs(teacher, z)
    slope = torch.einsum("nkd,nk->nd", z, (z @ w > 0).double()) / 3
    assert within_five_errors(2 * error[:, None] * slope, gradient(w[None], teacher[None], k=3)[0])


def test_the_teacher_itself_has_no_loss_and_no_gradient():
    _, teacher = students()
    assert loss(teacher, teacher, k=K).abs().max() < 1e-12
    assert gradient(teacher, teacher, k=K).abs().max() < 1e-12


def test_a_tiny_angle_keeps_its_digits():
    teacher = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    w = torch.tensor([[1.0, 1e-10]], dtype=torch.float64)
    assert angle(w, teacher).item() == pytest.approx(1e-10, rel=1e-9)


@every_penalty
def test_the_lagrangian_never_rises(name):
    teacher, start = draw(4, d=20, support=3)
    splitting = Splitting(penalty=name, lam=1e-3, beta=1e-2, eta=0.1)
    assert run(splitting, start, teacher, iterations=300).increases.max() < 1e-14


@every_penalty
def test_the_limit_relation_holds_where_the_descent_stops(name):
    teacher, start = draw(3, d=12, support=3)
    splitting = Splitting(penalty=name, lam=1e-3, beta=1e-2, eta=0.5)
    residual = run(splitting, start, teacher, iterations=400).watched["residual"]
    assert residual[0].min() > 0.1
    assert residual[-1].max() <= 1e-6


@every_penalty
def test_the_sweep_uses_the_threshold_that_it_names(name):
    around = torch.tensor([THRESHOLD * (1 - 1e-9), THRESHOLD * (1 + 1e-9)], dtype=torch.float64)
    assert (penalty(name).prox(around, STEPS[name]) != 0).tolist() == [False, True]


def test_a_killed_entry_rests_where_the_limit_relation_says():
    teacher = unit(torch.tensor([[1.0, 1.0, 0.05, 0.0]], dtype=torch.float64))
    splitting = Splitting(penalty="l0", lam=1e-3, beta=0.1, eta=0.5)
    end = run(splitting, teacher, teacher, iterations=200)
    assert end.u[0, 2] == 0
    assert end.w[0, 2].item() == pytest.approx(teacher[0, 2].item() / (1 + K * 0.1), rel=1e-2)
    assert limit_residual(end.w, end.u, teacher=teacher, k=K, beta=0.1).item() < 1e-6


@pytest.mark.parametrize(("name", "between"), [("l1", "1/6"), ("l0", "5/6")])
def test_between_the_two_thresholds_only_l0_remembers_the_teacher(name, between, monkeypatch):
    monkeypatch.setattr(relu_teacher, "SWEEP_ITERATIONS", 1_000)
    row, _ = sweep(name, 0.01, from_teacher=True, each=1)
    found = [row[heading] for heading in row if heading.startswith("exact")]
    assert found == ["0/10", between, "13/13"]


def test_a_further_entry_makes_a_support_inexact():
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    u = torch.tensor([[0.5, 0.0], [0.5, 0.1], [0.0, 0.0]])
    assert same_support(u, teacher).tolist() == [True, False, False]
