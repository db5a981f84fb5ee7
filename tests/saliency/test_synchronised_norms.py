"""SyncBatchNorm, which a training on many GPUs puts in the place of BatchNorm, is one more norm."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
from torch import nn

from compressor import Splitting
from compressor.groups import find_groups
from compressor.saliency import SALIENCIES
from compressor.shrinking import shrink
from compressor.training.batchnorm import reestimate
from compressor.training.zeros import keep_zeros

EXAMPLE = torch.randn(4, 3, 10, 10, generator=torch.Generator().manual_seed(0))
STEPS = 8
WITHOUT_TRAINING = {"fisher"}


@pytest.fixture(scope="module")
def plain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, bias=False),
            nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
        )  # fmt: skip
        for norm in (model[1], model[4]):
            nn.init.uniform_(norm.weight)
    reestimate(model, [EXAMPLE])
    return model.eval()


def synchronised(model):
    return nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))


def trained(model, saliency):
    """A few steps in evaluation mode, as synchronised norms train on GPUs alone."""
    splitting = Splitting(model, EXAMPLE, target_macs=0.5, align=1, total_steps=STEPS, saliency=saliency, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    splitting.attach(optimizer)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(EXAMPLE).square().mean().backward()
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few steps leave a gap
        splitting.project()
    return model


def test_they_have_the_same_groups(plain):
    found, known = find_groups(synchronised(plain), EXAMPLE), find_groups(plain, EXAMPLE)
    assert [(group.name, group.channels, group.excluded) for group in found] == [
        (group.name, group.channels, group.excluded) for group in known
    ]


@pytest.mark.parametrize("saliency", [name for name in SALIENCIES if name not in WITHOUT_TRAINING])
def test_every_saliency_chooses_the_same_channels(plain, saliency):
    known, found = trained(copy.deepcopy(plain), saliency), trained(synchronised(plain), saliency)
    for one, other in zip(known.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, other)
    small = shrink(found, EXAMPLE, align=1)
    assert min(norm.num_features for norm in small.modules() if isinstance(norm, nn.SyncBatchNorm)) < 8


def test_their_statistics_are_estimated_anew(plain):
    known, found = copy.deepcopy(plain), synchronised(plain)
    assert reestimate(known, [EXAMPLE * 2]) == reestimate(found, [EXAMPLE * 2]) > 0
    for one, other in zip(known.buffers(), found.buffers(), strict=True):
        assert torch.equal(one, other)


def test_a_dead_channel_stays_dead():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4)).eval()
    with torch.no_grad():
        for tensor in (model[0].weight, model[0].bias, model[1].weight, model[1].bias):
            tensor[1] = 0
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    keep_zeros(model, optimizer)
    model(EXAMPLE + 1).sum().backward()
    optimizer.step()
    assert not model[1].bias[1].any()
    assert model[1].bias[0].any()
