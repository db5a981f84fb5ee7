from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.training.batchnorm import reestimate

BATCHES = [torch.randn(6, 3, generator=torch.Generator().manual_seed(seed)) * (seed + 1) + seed for seed in range(4)]


def norm(momentum=0.1):
    layer = nn.BatchNorm1d(3, momentum=momentum).eval()
    layer.running_mean.fill_(50.0)
    layer.running_var.fill_(7.0)
    return layer


def test_means_are_plain_averages_over_the_batches():
    layer = norm()
    reestimate(layer, BATCHES)
    torch.testing.assert_close(layer.running_mean, torch.stack([batch.mean(0) for batch in BATCHES]).mean(0))


def test_variances_are_plain_averages_over_the_batches():
    layer = norm()
    reestimate(layer, BATCHES)
    torch.testing.assert_close(layer.running_var, torch.stack([batch.var(0) for batch in BATCHES]).mean(0))


@pytest.mark.parametrize("momentum", [0.1, None, 0.9])
def test_momentum_is_restored(momentum):
    layer = norm(momentum)
    reestimate(layer, BATCHES)
    assert layer.momentum == momentum


def test_weights_stay():
    layer = norm()
    nn.init.normal_(layer.weight)
    before = layer.weight.detach().clone()
    reestimate(layer, BATCHES)
    assert torch.equal(layer.weight, before)


def test_the_number_of_layers_is_told():
    assert reestimate(nn.Sequential(norm(), nn.Linear(3, 3), norm()), BATCHES) == 2


def test_a_network_without_statistics_is_left_alone():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3, track_running_stats=False))
    assert reestimate(model, BATCHES) == 0


def test_dropout_does_not_disturb_the_statistics():
    layer = norm()
    reestimate(nn.Sequential(nn.Dropout(0.9), layer).train(), BATCHES)
    torch.testing.assert_close(layer.running_mean, torch.stack([batch.mean(0) for batch in BATCHES]).mean(0))


def test_every_module_gets_its_own_mode_back():
    model = nn.Sequential(nn.Dropout(), norm(), norm()).train()
    model[1].eval()
    reestimate(model, BATCHES)
    assert [module.training for module in model] == [True, False, True]
