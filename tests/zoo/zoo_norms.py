"""Norms of single channels, of groups of them, and of all."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail


def group_norm():
    """A channel is a whole group of the norm."""
    return nn.Sequential(conv(3, 8), nn.GroupNorm(4, 8), nn.ReLU(), tail(8))


def group_norm_of_all():
    return nn.Sequential(conv(3, 8), nn.GroupNorm(1, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), tail(6))


def instance_norm():
    return nn.Sequential(conv(3, 8), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), tail(8))


def norm_without_scale():
    return nn.Sequential(conv(3, 8), nn.BatchNorm2d(8, affine=False), nn.Conv2d(8, 6, 1), nn.ReLU(), tail(6))


def layer_norm():
    """The stream is normalised across its channels, whether or not some of them are gone."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        return net.head((x + net.fc2(F.gelu(net.fc1(net.norm(x))))).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), norm=nn.LayerNorm(8), fc1=nn.Linear(8, 12), fc2=nn.Linear(12, 8),
        head=nn.Linear(8, 4),
    )  # fmt: skip


def convnext():
    def forward(net, x):
        x = net.stem(x)
        inner = net.norm(net.depth(x).permute(0, 2, 3, 1))
        inner = net.scale * net.fc2(F.gelu(net.fc1(inner)))
        return net.tail(x + inner.permute(0, 3, 1, 2))

    return Net(
        forward, stem=conv(3, 8), depth=conv(8, 8, groups=8), norm=nn.LayerNorm(8), fc1=nn.Linear(8, 16),
        fc2=nn.Linear(16, 8), scale=nn.Parameter(torch.full((8,), 0.5)), tail=tail(8),
    )  # fmt: skip


PATTERNS = (
    Pattern(group_norm, {"0": 4}),
    Pattern(group_norm_of_all, {"3": 6}, {"0": "1 normalises across all channels"}),
    Pattern(instance_norm, {"0": 8}),
    Pattern(norm_without_scale, {"0": 8, "2": 6}),
    Pattern(layer_norm, {"embed": 8, "fc1": 12}),
    Pattern(convnext, {"stem": 8, "fc1": 16}),
)  # fmt: skip
