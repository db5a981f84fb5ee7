"""Methods rvsm and rgsm: V draws W before the optimiser's step, and takes over at the end of every epoch."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from by_hand import (
    EPOCH_STEPS,
    IMAGE,
    OPTIMIZERS,
    PAPERS,
    STEPS,
    backward,
    input_channels,
    network,
    norm,
    optimizer_for,
    rates_of,
    weights_of,
)  # fmt: skip
from torch import nn

from compressor.errors import UsageError
from compressor.penalties import PENALTIES
from compressor.splitting import PaperSplitting

STRENGTH, GROUP_STRENGTH, BETA = 0.01, 0.05, 0.5


def splitting_for(model, **options):
    return PaperSplitting(model, IMAGE, **({"total_steps": STEPS, "epoch_steps": EPOCH_STEPS} | options))


def trained(kind, steps=STEPS, **options):
    model = network()
    optimizer = optimizer_for(model, kind)
    splitting = splitting_for(model, **options)
    splitting.attach(optimizer)
    for step in range(steps):
        backward(model, optimizer, step)
        optimizer.step()
    return model, splitting


@torch.no_grad()
def rvsm_by_hand(kind, prox, steps=STEPS):
    """W <- W - lr beta (W - V), V = prox(W), then the optimiser's step; W <- V at the end of an epoch."""
    model = network()
    optimizer = optimizer_for(model, kind)
    rates = rates_of(optimizer)
    for step in range(steps):
        with torch.enable_grad():
            backward(model, optimizer, step)
        for weight in weights_of(model):
            weight -= rates[weight] * BETA * (weight - prox(weight, STRENGTH / BETA))
        optimizer.step()
        if (step + 1) % EPOCH_STEPS == 0:
            for weight in weights_of(model):
                weight.copy_(prox(weight, STRENGTH / BETA))
    return model


def hard(weight, step):
    """Input channels whose norm is above sqrt(2 step)."""
    kept = weight.clone()
    for row in input_channels(kept):
        if norm(row) <= sqrt(2 * step):
            row.zero_()
    return kept


@torch.no_grad()
def rgsm_by_hand(kind, strength):
    """As rvsm, on input channels of convolutions, with their group lasso in the gradient and no sqrt(n)."""
    model = network()
    optimizer = optimizer_for(model, kind)
    rates = rates_of(optimizer)
    convolutions = weights_of(model)[:2]
    for step in range(STEPS):
        with torch.enable_grad():
            backward(model, optimizer, step)
        for weight in convolutions:
            for row, grad in zip(input_channels(weight), input_channels(weight.grad), strict=True):
                grad += GROUP_STRENGTH * row / (norm(row) or 1.0)
            weight -= rates[weight] * BETA * (weight - hard(weight, strength / BETA))
        optimizer.step()
        if (step + 1) % EPOCH_STEPS == 0:
            for weight in convolutions:
                weight.copy_(hard(weight, strength / BETA))
    return model


def assert_same(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


every_optimizer = pytest.mark.parametrize("kind", OPTIMIZERS)
RVSM = {"method": "rvsm", "strength": STRENGTH, "beta": BETA}


@every_optimizer
@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_seven_steps_of_rvsm_are_those_of_the_formulas(name, kind):
    assert_same(trained(kind, penalty=name, **RVSM)[0], rvsm_by_hand(kind, PAPERS[name]))


def rgsm(strength):
    return {"method": "rgsm", "strength": strength, "group_strength": GROUP_STRENGTH, "beta": BETA}


def norms(model):
    """Of the input channels of both convolutions."""
    return sorted(norm(row) for weight in weights_of(model)[:2] for row in input_channels(weight))


# The threshold lies between the norms of the input channels at the start, so that some go and some stay.
BETWEEN = BETA * norms(network())[4] ** 2 / 2


@every_optimizer
def test_seven_steps_of_rgsm_are_those_of_the_formulas(kind):
    assert_same(trained(kind, **rgsm(BETWEEN))[0], rgsm_by_hand(kind, BETWEEN))


def test_an_epoch_of_rgsm_leaves_exact_zeros_and_survivors():
    found = norms(trained("nesterov", EPOCH_STEPS, **rgsm(BETWEEN))[0])
    assert found[0] == 0 < found[-1]


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6])
def test_v_takes_over_at_the_ends_of_epochs_only(steps):
    model, _ = trained("nesterov", steps, **(RVSM | {"strength": 0.02}))
    zeros = sum(int((weight == 0).sum()) for weight in weights_of(model))
    assert (zeros > 0) == (steps % EPOCH_STEPS == 0)


def test_the_defaults_of_rvsm_are_those_of_the_code():
    known = splitting_for(network(), method="rvsm").config
    assert (known.penalty, known.strength, known.beta) == ("l0", 1e-6, (1e-2, 1e-2))


def test_the_defaults_of_rgsm_are_those_of_the_code():
    known = splitting_for(network(), method="rgsm").config
    assert (known.group_penalty, known.strength, known.group_strength) == ("l0", 1e-2, 1e-5)
    assert known.beta == (1.0, 1.0)


def masked(**options):
    """A network made V, and how many weights became zero."""
    model = network()
    return model, splitting_for(model, **options).mask()


@pytest.mark.parametrize("name", ["l0", "l1"])
def test_masking_makes_v_of_the_weights(name):
    model, zeros = masked(penalty=name, **RVSM)
    expected = [PAPERS[name](weight.detach(), STRENGTH / BETA) for weight in weights_of(network())]
    assert zeros == sum(int((v == 0).sum()) for v in expected) > 0
    for weight, v in zip(weights_of(model), expected, strict=True):
        torch.testing.assert_close(weight.detach(), v, rtol=1e-12, atol=0)


def test_masking_of_rgsm_zeroes_input_channels_and_leaves_linear_layers():
    model, zeros = masked(**rgsm(BETWEEN))
    *convolutions, linear = weights_of(network())
    expected = [*(hard(weight.detach(), BETWEEN / BETA) for weight in convolutions), linear]
    assert zeros == sum(int((v == 0).sum()) for v in expected) > 0
    assert all(torch.equal(w, v) for w, v in zip(weights_of(model), expected, strict=True))


@pytest.mark.filterwarnings("ignore:the splitting was stopped after")
@pytest.mark.parametrize("steps", [EPOCH_STEPS, 2 * EPOCH_STEPS])
def test_projection_does_not_threshold_again_what_took_over(steps):
    model, splitting = trained("nesterov", steps, penalty="l1", **RVSM)
    before = [weight.detach().clone() for weight in weights_of(model)]
    projection = splitting.project()
    assert (projection.gap, projection.entries_zeroed) == (0.0, 0)
    assert all(torch.equal(w, v) for w, v in zip(weights_of(model), before, strict=True))


def test_rgsm_without_a_convolution_is_refused():
    with pytest.raises(UsageError, match="--method rgsm penalises convolutions, and none of the trainable layers is"):
        PaperSplitting(nn.Linear(4, 4), torch.zeros(2, 4), method="rgsm", total_steps=1, epoch_steps=1)
