from __future__ import annotations

from functools import partial

import pytest
import torch
from binary_teacher import (
    BETA,
    CASES,
    ETA,
    SUPPORT,
    D,
    K,
    coarse_gradient,
    loss,
    potential,
    potential_lagrangian,
    run,
    sampled_gradient,
)
from teacher_student import Splitting, draw, unit

every_case = pytest.mark.parametrize(("name", "lam"), CASES)


def students(rows=1, d=5):
    return torch.randn(2, rows, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def population(name, lam, *, iterations):
    teacher, start = draw(4, d=D, support=SUPPORT)
    splitting = Splitting(penalty=name, lam=lam, beta=BETA, eta=ETA)
    gradient = partial(coarse_gradient, teacher=teacher, k=K)
    return run(splitting, start, teacher, iterations=iterations, gradient=gradient)


def within_five_errors(samples, expected):
    error = samples.std(0) / len(samples) ** 0.5
    return ((samples.mean(0) - expected).abs() <= 5 * error).all()


def test_the_coarse_gradient_is_the_mean_of_sampled_ones():
    w, teacher = students()
    many = [tensor.expand(500, -1) for tensor in (w, teacher)]
    samples = sampled_gradient(*many, k=3, batch=100, generator=torch.Generator().manual_seed(0))
    assert within_five_errors(samples, coarse_gradient(w, teacher, k=3)[0])


def test_the_loss_is_the_mean_over_gaussian_inputs():
    w, teacher = students()
    z = torch.randn(50_000, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = [(z @ row[0] > 0).sum(1).double() for row in (w, teacher)]
    assert within_five_errors((counts[0] - counts[1]).square() / 2, loss(w, teacher, k=3)[0])


def test_on_the_sphere_the_coarse_gradient_is_that_of_its_potential():
    w, teacher = students(rows=4)
    w = unit(w).requires_grad_()
    (slope,) = torch.autograd.grad(potential(w, teacher, k=K).sum(), w)
    coarse = coarse_gradient(w, teacher, k=K)
    torch.testing.assert_close(coarse - (coarse * w).sum(1, keepdim=True) * w, slope)


@every_case
def test_the_lagrangian_with_the_potential_never_rises(name, lam):
    assert potential_lagrangian(population(name, lam, iterations=600)).diff(dim=0).max() < 1e-14


def test_the_lagrangian_itself_rises_a_little_near_the_end():
    assert 1e-6 < population("transformed-l1", 1e-2, iterations=600).increases.max() < 1e-5


@every_case
def test_the_method_rests_where_no_force_is_left_along_the_sphere(name, lam):
    residual = population(name, lam, iterations=1_000).watched["residual"]
    assert residual[0].min() > 0.1
    assert residual[-1].max() < 1e-6


def test_students_stay_on_the_sphere():
    ends = population("l0", 1e-3, iterations=20).w
    torch.testing.assert_close(ends.norm(dim=1), torch.ones(4, dtype=torch.float64))


def test_small_batches_find_the_direction():
    teacher, start = draw(2, d=D, support=SUPPORT)
    generator = torch.Generator().manual_seed(0)
    gradient = partial(sampled_gradient, teacher=teacher, k=K, batch=16, generator=generator)
    splitting = Splitting(penalty="l0", lam=1e-3, beta=BETA, eta=ETA)
    angles = run(splitting, start, teacher, iterations=400, gradient=gradient).watched["angle"]
    assert angles[0].min() > 1
    assert angles[-1].max() < 0.3
