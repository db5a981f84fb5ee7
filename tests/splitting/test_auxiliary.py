from __future__ import annotations

from math import inf

import pytest
import torch
from by_hand import FIXED, IMAGE, OPTIMIZERS, STEPS, backward, network, optimizer_for, weights_of
from torch import nn

from compressor.penalties import PENALTIES
from compressor.splitting import PaperSplitting, Splitting

STRENGTH, START, END = 0.2, 2.0, 50.0
LAMBDA = 2 * STRENGTH
# Seven steps: pulls after the second, the fourth, the sixth and the last, which closes the gap.
SPANS = {2: 2 / 7, 4: 2 / 7, 6: 2 / 7, 7: 1 / 7}

# Most of these project without a training.
pytestmark = pytest.mark.filterwarnings("ignore::compressor.errors.CompressorWarning")
OPTIONS = {"strength": STRENGTH, "beta": (START, END), "total_steps": STEPS}
every_penalty = pytest.mark.parametrize("name", sorted(PENALTIES))


def units(model):
    """Each layer's RMS."""
    return {weight: float(weight.detach().square().mean().sqrt()) for weight in weights_of(model)}


def v_by_hand(name, weight, unit, step):
    return FIXED[name](weight.detach() / unit, step) * unit


def beta_at(step):
    return START * (END / START) ** (step / STEPS) if step < STEPS else inf


@torch.no_grad()
def by_hand(name, kind):
    """After every second and the last of the steps, W <- W + k (V - W), V the prox with step lambda (1/beta + t).

    Lambda is twice the strength: it acts until half time. Then, after the fifth step, the zeros of V are chosen, and
    only they are drawn to zero.
    """
    model = network()
    optimizer, unit, chosen = optimizer_for(model, kind), units(model), None
    for step in range(STEPS):
        with torch.enable_grad():
            backward(model, optimizer, step)
        optimizer.step()
        if step == 4:
            chosen = [v_by_hand(name, w, unit[w], LAMBDA * (1 / beta_at(step) + 2 / 7)) == 0 for w in weights_of(model)]
        if step + 1 not in SPANS:
            continue
        span, beta = SPANS[step + 1], beta_at(step + 1)
        for place, weight in enumerate(weights_of(model)):
            k = 1 if step + 1 == STEPS else span * beta / (1 + span * beta)
            if chosen is None:
                v = v_by_hand(name, weight, unit[weight], LAMBDA * (1 / beta + span))
            else:
                v = weight * ~chosen[place]
            weight += k * (v - weight)
    return model


def trained(name, kind):
    model = network()
    optimizer = optimizer_for(model, kind)
    splitting = Splitting(model, IMAGE, penalty=name, **OPTIONS)
    splitting.attach(optimizer)
    for step in range(STEPS):
        backward(model, optimizer, step)
        optimizer.step()
    return model


@every_penalty
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_seven_steps_of_the_budgets_penalty_are_those_of_the_formulas(name, kind):
    for one, other in zip(trained(name, kind).parameters(), by_hand(name, kind).parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@every_penalty
def test_the_zeros_of_v_are_those_of_the_prox(name):
    model = network()
    found = Splitting(model, IMAGE, penalty=name, **OPTIONS).sparsity()["V"].weights
    zeros = [int((v_by_hand(name, w, unit, LAMBDA / START) == 0).sum()) for w, unit in units(model).items()]
    assert found == pytest.approx(sum(zeros) / sum(w.numel() for w in weights_of(model)))


@every_penalty
def test_the_gap_is_the_share_of_the_norm_that_projection_takes(name):
    model = network()
    splitting = Splitting(model, IMAGE, penalty=name, **OPTIONS)
    before = [weight.detach().clone() for weight in weights_of(model)]
    gap = splitting.project().gap
    lost = sum(float((w - b).detach().square().sum()) for w, b in zip(weights_of(model), before, strict=True))
    assert gap == pytest.approx((lost / sum(float(b.square().sum()) for b in before)) ** 0.5)


@every_penalty
def test_projection_leaves_survivors_as_they_are(name):
    model = network()
    before = [weight.detach().clone() for weight in weights_of(model)]
    Splitting(model, IMAGE, penalty=name, **OPTIONS).project()
    for weight, old in zip(weights_of(model), before, strict=True):
        assert torch.equal(weight, old * (weight != 0))


@every_penalty
def test_a_layer_of_zeros_stays_one(name):
    model = network()
    nn.init.zeros_(model[3].weight)
    splitting = Splitting(model, IMAGE, penalty=name, **OPTIONS)
    splitting.pull(0.1)
    assert (model[3].weight == 0).all()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_zeros_do_not_depend_on_the_scale_of_a_layer(factor):
    models = [network(), network()]
    with torch.no_grad():
        for weight in weights_of(models[1]):
            weight *= factor
    one, other = (Splitting(model, IMAGE, penalty="scad", **OPTIONS).sparsity()["V"] for model in models)
    assert one == other


def test_the_strength_of_a_papers_method_does_depend_on_it():
    models = [network(), network()]
    with torch.no_grad():
        for weight in weights_of(models[1]):
            weight *= 0.1
    options = {"method": "rvsm", "penalty": "l1", "strength": 0.01, "beta": 1.0, "epoch_steps": 1}
    one, other = (PaperSplitting(m, IMAGE, total_steps=1, **options).sparsity()["V"].weights for m in models)
    assert other > one > 0


def test_a_weight_that_two_layers_share_is_pulled_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)).double()
    model[2].weight = model[0].weight
    before = model[0].weight.detach().clone()
    splitting = Splitting(
        model, torch.zeros(2, 4), penalty="l1", strength=0.125, beta=(1.0, 1.0), total_steps=9, layers=("0", "2")
    )
    splitting.pull(1.0)
    unit = float(before.square().mean().sqrt())
    # beta = 1 and t = 1: k = 1/2, and the step of the prox is 0.25 (1 + 1).
    torch.testing.assert_close(model[0].weight.detach(), (before + v_by_hand("l1", before, unit, 0.5)) / 2)
