"""Layers that make images larger, and units that compete or gate."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail


def transposed():
    up = nn.ConvTranspose2d(8, 6, 2, 2)
    return nn.Sequential(conv(3, 8), nn.ReLU(), up, nn.BatchNorm2d(6), nn.ReLU(), conv(6, 4))


def pixel_shuffle():
    """Four channels become one of twice the size."""
    return nn.Sequential(conv(3, 24), nn.PixelShuffle(2), nn.ReLU(), conv(6, 4))


def upsampled():
    return nn.Sequential(conv(3, 8), nn.Upsample(scale_factor=2), nn.ReLU(), nn.ReflectionPad2d(1), nn.Conv2d(8, 4, 3))


def decoder():
    """A vector becomes an image: 4x4 units are one channel."""

    def forward(net, x):
        return net.out(F.relu(net.conv(F.relu(net.fc(x.flatten(1))).unflatten(1, (-1, 4, 4)))))

    return Net(forward, fc=nn.Linear(192, 96), conv=conv(6, 8), out=conv(8, 3))


def gated():
    return nn.Sequential(conv(3, 12), nn.GLU(1), conv(6, 8), nn.ReLU(), tail(8))


def maxout():
    """Two channels compete for one."""

    def forward(net, x):
        first, second = net.conv(x).chunk(2, 1)
        return net.tail(torch.maximum(first, second))

    return Net(forward, conv=conv(3, 12), tail=tail(6))


PATTERNS = (
    Pattern(transposed, {"0": 8, "2": 6}),
    Pattern(pixel_shuffle, {"0": 6}),
    Pattern(upsampled, {"0": 8}),
    Pattern(decoder, {"fc": 6, "conv": 8}),
    Pattern(gated, {"0": 6, "2": 8}),
    Pattern(maxout, {"conv": 6}),
)  # fmt: skip
