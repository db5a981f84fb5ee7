"""Method paper is Bui et al. 2021 as their code has it, step by step."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from by_hand import (
    EPOCH_STEPS,
    IMAGE,
    OPTIMIZERS,
    PAPERS,
    SAMPLES,
    STEPS,
    backward,
    network,
    neurons,
    norm,
    optimizer_for,
    weights_of,
)  # fmt: skip

from compressor.penalties import PENALTIES
from compressor.splitting import PaperSplitting

STRENGTH, BETA, SIGMA = 0.05, 2.0, 1.5


def splitting_for(model, **options):
    fixed = {"total_steps": STEPS, "epoch_steps": EPOCH_STEPS, "samples": SAMPLES}
    return PaperSplitting(model, IMAGE, method="paper", **(fixed | options))


def trained(kind, **options):
    model = network()
    optimizer = optimizer_for(model, kind)
    splitting = splitting_for(model, **options)
    splitting.attach(optimizer)
    for step in range(STEPS):
        backward(model, optimizer, step)
        optimizer.step()
    return model, splitting


def by_hand(kind, prox=None, lasso=STRENGTH, mu=None, growth=(SIGMA, 1)):
    """grad + (1/N) [lambda sqrt(n) W_g / |W_g| + beta (W - V)], then the optimiser's step; or CGES with ``mu``."""
    model = network()
    optimizer = optimizer_for(model, kind)
    for step in range(STEPS):
        epoch = step // EPOCH_STEPS
        beta = BETA * growth[0] ** (epoch // growth[1])
        backward(model, optimizer, step)
        for layer, weight in enumerate(weights_of(model)):
            w, added = weight.detach(), torch.zeros_like(weight)
            for row, out in zip(neurons(w), neurons(added), strict=True):
                if mu is None:
                    out += lasso * sqrt(row.numel()) * row / norm(row)
                else:
                    share = mu(layer)
                    size = sum(abs(x) for x in row.flatten().tolist())
                    out += lasso * ((1 - share) * row / norm(row) + share * size * row.sign())
            if prox is not None:
                added += beta * (w - prox(w, STRENGTH / beta))
            weight.grad += added / SAMPLES
        optimizer.step()
    return model


def assert_same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)


@every_optimizer
@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_seven_steps_are_those_of_the_formulas(name, kind):
    options = {"penalty": name, "strength": STRENGTH, "beta": BETA, "growth": (SIGMA, 1)}
    assert_same(trained(kind, **options)[0], by_hand(kind, PAPERS[name]))


@every_optimizer
def test_without_a_penalty_it_is_the_group_lasso_alone(kind):
    assert_same(trained(kind, strength=STRENGTH)[0], by_hand(kind))


@every_optimizer
def test_without_a_group_penalty_there_is_only_the_splitting(kind):
    options = {"penalty": "l0", "group_penalty": "none", "strength": STRENGTH, "beta": BETA}
    found = trained(kind, growth=(SIGMA, 1), **options)[0]
    assert_same(found, by_hand(kind, PAPERS["l0"], lasso=0.0))


@every_optimizer
def test_the_group_lasso_can_have_a_strength_of_its_own(kind):
    options = {"penalty": "l1", "strength": STRENGTH, "group_strength": 0.4, "beta": BETA}
    assert_same(trained(kind, growth=(SIGMA, 1), **options)[0], by_hand(kind, PAPERS["l1"], lasso=0.4))


@every_optimizer
def test_the_exclusive_part_of_cges_grows_with_depth_and_no_group_is_weighted_by_its_size(kind):
    found = trained(kind, group_penalty="cges", strength=STRENGTH)[0]
    assert_same(found, by_hand(kind, mu=lambda layer: layer / 3))


def test_cges_takes_one_mu_for_all_layers():
    found = trained("adam", group_penalty="cges", group_penalty_args={"mu": 0.3}, strength=STRENGTH)[0]
    assert_same(found, by_hand("adam", mu=lambda layer: 0.3))


@pytest.mark.parametrize(
    ("growth", "expected"),
    [((1.5, 1), [2, 2, 2, 3, 3, 3, 4.5]), ((3.0, 2), [2, 2, 2, 2, 2, 2, 6]), ((1.0, 1), [2] * 7)],
)
def test_beta_grows_at_the_ends_of_epochs(growth, expected):
    splitting = splitting_for(network(), penalty="l1", beta=2.0, growth=growth)
    betas = []
    for _ in range(STEPS):
        betas.append(splitting.beta)
        splitting.after_step()
    assert betas == pytest.approx(expected)


def test_the_default_settings_are_those_of_the_code():
    known = splitting_for(network(), penalty="l0").config
    assert (known.strength, known.group_strength, known.group_penalty) == (0.1, 0.1, "lasso")
    assert (known.beta, known.growth) == ((2.5, 2.5), (1.25, 40))


def test_twice_the_samples_are_half_the_penalty():
    def added(samples):
        model = network()
        optimizer = optimizer_for(model, "nesterov")
        backward(model, optimizer, 0)
        before = [weight.grad.clone() for weight in weights_of(model)]
        splitting_for(model, penalty="l0", samples=samples).before_step(optimizer)
        return [weight.grad - grad for weight, grad in zip(weights_of(model), before, strict=True)]

    for once, twice in zip(added(10), added(20), strict=True):
        torch.testing.assert_close(once, 2 * twice)


def test_only_chosen_layers_are_penalised():
    model = network()
    optimizer = optimizer_for(model, "nesterov")
    backward(model, optimizer, 0)
    before = [parameter.grad.clone() for parameter in model.parameters()]
    splitting_for(model, penalty="l0", layers=("3",)).before_step(optimizer)
    changed = [not torch.equal(p.grad, grad) for p, grad in zip(model.parameters(), before, strict=True)]
    assert [name for (name, _), moved in zip(model.named_parameters(), changed, strict=True) if moved] == ["3.weight"]


def test_frozen_layers_are_left_alone():
    model = network()
    model[0].weight.requires_grad_(False)
    optimizer = optimizer_for(model, "nesterov")
    splitting_for(model, penalty="l0").attach(optimizer)
    before = model[0].weight.clone()
    backward(model, optimizer, 0)
    optimizer.step()
    assert torch.equal(model[0].weight, before)


def test_nothing_is_set_to_zero_while_training():
    model, _ = trained("adam", penalty="l0", strength=STRENGTH)
    assert all((weight != 0).all() for weight in weights_of(model))
