"""The average of the weights: its formula, what pruning does to it, and that it is what a training ends with."""

from __future__ import annotations

import copy

import pytest
import torch
from test_loop import DATA, IMAGE, network, recipe, same
from torch import nn

from compressor.groups import find_groups, is_zero
from compressor.splitting import SplittingConfig, build_splitting
from compressor.training import train
from compressor.training.averaging import WeightAverage
from compressor.training.batchnorm import reestimate_on
from compressor.training.evaluation import model_accuracy


@torch.no_grad()
def moved(model, step):
    for parameter in model.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(step)))


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_it_is_the_recursive_formula(decay):
    model = nn.Linear(3, 2)
    average, expected = WeightAverage(model, decay), [p.detach().double().clone() for p in model.parameters()]
    for step in range(1, 40):
        moved(model, step)
        average.update()
        kept = min(decay, step / (10 + step))
        expected = [kept * e + (1 - kept) * p.double() for e, p in zip(expected, model.parameters(), strict=True)]
    average.adopt()
    for found, wanted in zip(model.parameters(), expected, strict=True):
        assert torch.allclose(found.double(), wanted, atol=1e-6)


def test_what_is_exactly_zero_in_the_network_is_zero_in_the_average():
    model = nn.Linear(3, 2)
    average = WeightAverage(model, 0.99)
    with torch.no_grad():
        model.weight[1] = 0
    average.update()
    average.adopt()
    assert not model.weight[1].any()
    assert model.weight[0].all()


def test_frozen_parameters_are_left_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    average, frozen = WeightAverage(model, 0.9), model[0].weight.clone()
    model[0].weight.add_(1)
    average.adopt()
    assert torch.equal(model[0].weight, frozen + 1)


def test_it_is_shown_for_a_while():
    model = nn.Linear(3, 2)
    before, average = copy.deepcopy(model), WeightAverage(model, 0.9)
    moved(model, 1)
    own = copy.deepcopy(model)
    with average.shown():
        assert same(model, before)
    assert same(model, own)


def test_a_state_is_a_copy_and_goes_on():
    model = nn.Linear(3, 2)
    average, other = WeightAverage(model, 0.9), WeightAverage(nn.Linear(3, 2), 0.9)
    state = average.state_dict()
    moved(model, 1)
    average.update()
    other.load_state_dict(state)
    assert other.state_dict()["steps"] == 0
    assert not torch.equal(state["average"][0], average.state_dict()["average"][0])
    assert torch.equal(other.state_dict()["average"][0], state["average"][0])


def test_a_training_ends_with_the_average_and_its_statistics():
    plain, averaged = network(), network()
    train(plain, DATA, recipe(), normalization=None)
    train(averaged, DATA, recipe(ema=0.9), normalization=None)
    assert not torch.allclose(plain[0].weight, averaged[0].weight, rtol=1e-2)
    again = copy.deepcopy(averaged)
    reestimate_on(again, DATA, None, 0)
    assert torch.allclose(again[1].running_var, averaged[1].running_var)
    assert not torch.allclose(plain[1].running_var, averaged[1].running_var, rtol=1e-3)


def test_an_average_of_almost_no_memory_is_the_last_weights():
    plain, averaged = network(), network()
    train(plain, DATA, recipe(), normalization=None)
    train(averaged, DATA, recipe(ema=1e-6), normalization=None)
    pairs = zip(plain.parameters(), averaged.parameters(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def test_validation_measures_the_average():
    model = network()
    epochs = train(model, DATA, recipe(ema=0.9), normalization=None)
    assert epochs[-1].validation is not None
    # The statistics of the last epoch are of as many samples: there are fewer than a validation takes.
    assert epochs[-1].validation.value == model_accuracy(model, DATA.val, None).value


@pytest.mark.parametrize("penalty", [{}, {"target_zeros": 0.6}], ids=str)
def test_pruned_channels_stay_away_from_the_average(penalty):
    model = network()
    config = SplittingConfig(target_macs=0.5, **penalty)
    splitting = build_splitting(model, IMAGE, config, total_steps=16, epoch_steps=4, samples=64)
    train(model, DATA, recipe(ema=0.99), normalization=None, splitting=splitting)
    group = next(group for group in find_groups(model, IMAGE) if group.prunable)
    assert int(is_zero(model, group).sum()) == 8 - splitting.kept[0] > 0
    assert splitting.project().gap == 0
