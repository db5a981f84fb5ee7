"""A function of four numbers: an MLP finds it by regression."""

import torch
from torch import nn

INPUTS = 4


def mlp(width=32):
    return nn.Sequential(nn.Linear(INPUTS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))


def drawn(count, seed):
    x = torch.randn(count, INPUTS, generator=torch.Generator().manual_seed(seed))
    return x, torch.sin(x[:, 0]) + x[:, 1] * x[:, 2]


def loaders():
    return {name: [*zip(*(column.split(16) for column in drawn(count, seed)), strict=True)]
            for seed, (name, count) in enumerate({"train": 96, "val": 32, "test": 48}.items())}  # fmt: skip
