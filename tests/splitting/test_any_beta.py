"""The implicit pull is stable for every beta, whatever the optimiser and the penalty."""

from __future__ import annotations

import copy
from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.groups import find_groups
from compressor.penalties import PENALTIES
from compressor.splitting import Splitting

STEPS, RATE = 24, 0.1
OPTIMIZERS = {
    "sgd": lambda parts: torch.optim.SGD(parts, lr=RATE),
    "nesterov": lambda parts: torch.optim.SGD(parts, lr=RATE, momentum=0.9, nesterov=True),
    "adamw": lambda parts: torch.optim.AdamW(parts, lr=RATE),
}
VECTORS = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
LABELS = (VECTORS[:, 0] > 0).long() + 2 * (VECTORS[:, 1] > 0).long()


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)
        )


NETWORK = network()
GROUPS = find_groups(NETWORK, VECTORS)


def norm(model):
    return sqrt(sum(float(parameter.detach().square().sum()) for parameter in model.parameters()))


def trained(kind, **options):
    """The losses and the largest norm of the weights on the way, and the splitting."""
    model = copy.deepcopy(NETWORK)
    optimizer = OPTIMIZERS[kind](model.parameters())
    splitting = None
    if options:
        splitting = Splitting(model, VECTORS, groups=GROUPS, total_steps=STEPS, align=1, **options)
        splitting.attach(optimizer)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(VECTORS), LABELS)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        norms.append(norm(model))
    return losses, max(norms), splitting


@pytest.fixture(scope="module")
def free():
    """The largest norm without penalties, by optimiser."""
    return {kind: trained(kind)[1] for kind in OPTIMIZERS}


@pytest.mark.parametrize("beta", [(1e-3, 1e-3), (1.0, 1.0), (1e4, 1e4), (1e-3, 1e4)], ids="{0[0]:g}-{0[1]:g}".format)
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_nothing_diverges_at_any_beta(name, kind, beta, free):
    losses, largest, _ = trained(kind, penalty=name, strength=0.1 * min(1, beta[0]), target_params=0.5, beta=beta)
    assert losses[-1] < losses[0]
    assert largest < 1.5 * free[kind]


@pytest.mark.parametrize("beta", [(1e-3, 1e-3), (1.0, 1.0), (1e4, 1e4)], ids="{0[0]:g}-{0[1]:g}".format)
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", ["none", *sorted(PENALTIES)])
def test_the_gap_is_closed_at_any_beta(name, kind, beta):
    assert trained(kind, penalty=name, target_params=0.5, beta=beta)[2].gap() <= 1e-5
