"""Depthwise and grouped convolutions, channels that are shuffled or gated."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail


def depthwise():
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8, groups=8), nn.BatchNorm2d(8), nn.ReLU6(), tail(8))


def depth_multiplier():
    """Two outputs per input: they go together."""
    return nn.Sequential(conv(3, 6), nn.ReLU(), conv(6, 12, groups=6), nn.ReLU(), tail(12))


def grouped():
    """A channel is a whole group: 2 inputs and 3 outputs."""
    return nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 12, groups=4), nn.BatchNorm2d(12), nn.ReLU(), tail(12))


def grouped_input():
    return nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), conv(6, 8), nn.ReLU(), tail(8))


def inverted_residual():
    def forward(net, x):
        x = net.stem(x)
        inner = F.relu6(net.bn2(net.depth(F.relu6(net.bn1(net.expand(x))))))
        return net.tail(x + net.bn3(net.project(inner)))

    return Net(
        forward, stem=conv(3, 6), expand=nn.Conv2d(6, 12, 1, bias=False), bn1=nn.BatchNorm2d(12),
        depth=conv(12, 12, groups=12, bias=False), bn2=nn.BatchNorm2d(12),
        project=nn.Conv2d(12, 6, 1, bias=False), bn3=nn.BatchNorm2d(6), tail=tail(6),
    )  # fmt: skip


def shuffle(x, groups):
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def channel_shuffle():
    """Channels c and c + 4 stand side by side afterwards: they go together."""

    def forward(net, x):
        return net.tail(F.relu(net.conv(shuffle(F.relu(net.stem(x)), 2))))

    return Net(forward, stem=conv(3, 8), conv=conv(8, 6), tail=tail(6))


def shuffle_unit():
    """ShuffleNet v2: one half goes by, the other through convolutions."""

    def forward(net, x):
        left, right = F.relu(net.stem(x)).chunk(2, 1)
        right = F.relu(net.out(net.depth(F.relu(net.reduce(right)))))
        return net.tail(shuffle(torch.cat([left, right], 1), 2))

    return Net(
        forward, stem=conv(3, 8), reduce=nn.Conv2d(4, 4, 1), depth=conv(4, 4, groups=4), out=nn.Conv2d(4, 4, 1),
        tail=tail(8),
    )  # fmt: skip


def squeeze_excitation():
    def forward(net, x):
        x = F.relu(net.conv(x))
        gate = torch.sigmoid(net.excite(F.relu(net.squeeze(x.mean((2, 3), keepdim=True)))))
        return net.tail(x * gate)

    return Net(
        forward, conv=conv(3, 8), squeeze=nn.Conv2d(8, 4, 1), excite=nn.Conv2d(4, 8, 1), tail=tail(8)
    )  # fmt: skip


def spatial_gate():
    """One channel weighs all others."""

    def forward(net, x):
        x = F.relu(net.conv(x))
        return net.tail(x * torch.sigmoid(net.gate(x)))

    return Net(forward, conv=conv(3, 8), gate=nn.Conv2d(8, 1, 1), tail=tail(8))


PATTERNS = (
    Pattern(depthwise, {"0": 8}),
    Pattern(depth_multiplier, {"0": 6}),
    Pattern(grouped, {"0": 4}),
    Pattern(grouped_input, {"2": 8}, {"0": "0 reads channels of fixed width in 3 groups"}),
    Pattern(inverted_residual, {"stem": 6, "expand": 12}),
    Pattern(channel_shuffle, {"stem": 4, "conv": 6}),
    Pattern(shuffle_unit, {"stem": 4, "stem#2": 4, "reduce": 4}),
    Pattern(squeeze_excitation, {"conv": 8, "squeeze": 4}),
    Pattern(spatial_gate, {"conv": 8}, {"gate": "broadcast over other channels"}),
)  # fmt: skip
