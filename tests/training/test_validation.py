"""The figures on the way are those of the network that would be shipped, and the training does not notice them."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from test_loop import DATA, IMAGE, network, recipe, same
from torch import nn

from compressor.data.samples import Samples
from compressor.splitting import SplittingConfig, build_splitting
from compressor.training import train
from compressor.training.batchnorm import reestimate_on
from compressor.training.evaluation import model_accuracy
from compressor.training.validation import SAMPLES, validated

BLIND = replace(DATA, val=Samples(DATA.val.images[:0], DATA.val.labels[:0]))


def splitting_of(model, **options):
    config = SplittingConfig(**({"penalty": "l1", "target_macs": 0.5} | options))
    return build_splitting(model, IMAGE, config, total_steps=16, epoch_steps=4, samples=64)


class Drawing(nn.Module):
    """Noise in eval mode too."""

    def forward(self, x):
        return x + 0.1 * torch.rand(x.shape)


WATCHED = (
    {},
    {"method": "paper", "target_macs": None, "strength": 1e-4},
    {"method": "slimming", "target_macs": None, "strength": 2.0, "beta": (10.0, 10.0)},
)


@pytest.mark.parametrize("options", WATCHED, ids=str)
@pytest.mark.parametrize("noise", [False, True])
def test_a_training_that_is_watched_ends_with_the_same_bits(options, noise):
    ends = []
    for data in (DATA, BLIND):
        model = network()
        if noise:
            model.append(Drawing())
        splitting = splitting_of(model, **options)
        epochs = train(model, data, recipe(), normalization=None, splitting=splitting)
        ends.append((model, splitting.state_dict(), torch.get_rng_state(), [epoch.loss for epoch in epochs]))
    (one, state, random, losses), (other, blind_state, blind_random, blind_losses) = ends
    assert same(one, other)
    assert str(state) == str(blind_state)
    assert torch.equal(random, blind_random)
    assert losses == blind_losses


def test_nothing_of_the_network_is_touched():
    model = network()
    splitting = splitting_of(model)
    train(model, DATA, recipe(epochs=2), normalization=None, splitting=splitting)
    before, state = copy.deepcopy(model), copy.deepcopy(splitting.state_dict())
    modes = [module.training for module in model.modules()]
    assert validated(model, DATA, None, splitting, 0) is not None
    assert same(model, before)
    assert str(splitting.state_dict()) == str(state)
    assert [module.training for module in model.modules()] == modes


def test_what_is_measured_is_projected_and_re_estimated():
    model = network()
    splitting = splitting_of(model)
    train(model, DATA, recipe(epochs=2), normalization=None, splitting=splitting)
    model[1].running_mean += 50.0  # statistics that lag behind
    metric = validated(model, DATA, None, splitting, 0)
    shipped = copy.deepcopy(model)
    splitting._zero(shipped)
    reestimate_on(shipped, DATA, None, 0, most=SAMPLES)
    assert metric == model_accuracy(shipped, DATA.val, None)
    assert metric != model_accuracy(model, DATA.val, None)


def test_without_a_splitting_the_network_itself_is_measured():
    model = network()
    assert validated(model, DATA, None, None, 0) == model_accuracy(model, DATA.val, None)
    assert validated(model, BLIND, None, None, 0) is None
