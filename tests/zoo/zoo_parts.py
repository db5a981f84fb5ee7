"""What the zoo's networks are made of, what they are given, and what is to be found in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn


class Net(nn.Module):
    """Modules by name, and the forward that joins them."""

    def __init__(self, forward, **modules):
        super().__init__()
        self._run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self._run(self, x)


class Pair(Net):
    """The same with two inputs."""

    def forward(self, x, y):  # type: ignore[override]
        return self._run(self, x, y)


class Lambda(nn.Module):
    """As in most CIFAR ResNets: a shortcut whose widths are written into a closure."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def tail(width, classes=4):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def image(batch=2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def signals():
    return image().flatten(2)[..., :16].contiguous()


def words():
    return torch.tensor([[1, 2, 3, 4, 5], [10, 9, 8, 7, 6]])


@dataclass(frozen=True, eq=False)
class Pattern:
    """A network, the channels of each group that can be removed, and a part of the reason for each that cannot."""

    build: Callable[[], nn.Module]
    groups: dict[str, int]
    refused: dict[str, str] = field(default_factory=dict)
    inputs: Callable[[], object] = image

    @property
    def name(self):
        return self.build.__name__

    @property
    def arch(self):
        """The reference by which a checkpoint finds the network again."""
        return f"{self.build.__code__.co_filename}:{self.name}"
