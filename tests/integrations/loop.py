"""A small network, its data, and the plain loop that a trainer with a callback must equal."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from compressor.splitting import SplittingConfig, build_splitting
from compressor.training.batchnorm import reestimate

EXAMPLE = torch.zeros(2, 3, 8, 8)
EPOCHS, BATCH, SAMPLES = 3, 16, 128
EPOCH_STEPS = SAMPLES // BATCH
LR, MOMENTUM = 0.05, 0.9
CONFIGS = {
    "taylor": {"target_macs": 0.5},
    "zeros": {"target_macs": 0.6, "target_zeros": 0.5},
    "paper": {"method": "paper", "penalty": "l1", "growth": (1.5, 1)},
    "slimming": {"method": "slimming", "strength": 1.0, "beta": (2.0, 2.0)},
}


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 4),
        )  # fmt: skip


def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(SAMPLES, 3, 8, 8, generator=generator)
    return TensorDataset(images, torch.randint(4, (SAMPLES,), generator=generator))


def loader():
    return DataLoader(data(), batch_size=BATCH)


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)


def plain(options, *, accumulate=1, epochs=EPOCHS):
    """The network and its projection after the plain loop; ``epochs`` of those that are planned."""
    model = network()
    optimizer, per_epoch = optimizer_of(model), EPOCH_STEPS // accumulate
    lengths = {"total_steps": EPOCHS * per_epoch, "epoch_steps": per_epoch, "samples": SAMPLES}
    splitting = build_splitting(model, EXAMPLE, SplittingConfig(**options), **lengths)
    splitting.attach(optimizer)
    for _ in range(epochs):
        for number, (images, labels) in enumerate(loader(), start=1):
            (F.cross_entropy(model(images), labels) / accumulate).backward()
            if number % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
    projection = splitting.project()
    reestimate(model, (images for images, _ in loader()))
    return model, projection


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
