"""Channels side by side."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail


def dense_block():
    def forward(net, x):
        x = net.stem(x)
        x = torch.cat([x, net.conv1(F.relu(net.bn1(x)))], 1)
        x = torch.cat([x, net.conv2(F.relu(net.bn2(x)))], 1)
        return net.tail(F.relu(net.bn3(x)))

    return Net(
        forward, stem=conv(3, 8), bn1=nn.BatchNorm2d(8), conv1=conv(8, 4), bn2=nn.BatchNorm2d(12), conv2=conv(12, 4),
        bn3=nn.BatchNorm2d(16), tail=tail(16),
    )  # fmt: skip


def u_net():
    def forward(net, x):
        high = F.relu(net.down1(x))
        low = F.relu(net.down2(F.max_pool2d(high, 2)))
        return net.out(F.relu(net.join(torch.cat([net.up(low), high], 1))))

    return Net(
        forward, down1=conv(3, 6), down2=conv(6, 8), up=nn.ConvTranspose2d(8, 6, 2, 2), join=conv(12, 6),
        out=nn.Conv2d(6, 2, 1),
    )  # fmt: skip


def inception():
    def forward(net, x):
        branches = [net.one(x), net.three(x), F.max_pool2d(x, 3, 1, 1)]
        return net.tail(F.relu(net.bn(torch.cat(branches, 1))))

    return Net(forward, one=nn.Conv2d(3, 4, 1), three=conv(3, 6), bn=nn.BatchNorm2d(13), tail=tail(13))


def cross_stage():
    """As in C2f and CSP blocks: one half goes by, the other through a convolution, and all stand side by side."""

    def forward(net, x):
        left, right = F.relu(net.stem(x)).chunk(2, 1)
        inner = F.relu(net.inner(right))
        return net.tail(net.join(torch.cat([left, right, right + net.outer(inner)], 1)))

    return Net(forward, stem=conv(3, 12), inner=conv(6, 8), outer=conv(8, 6), join=nn.Conv2d(18, 8, 1), tail=tail(8))


def halves_by_slices():
    """The widths come from the shape of what is cut."""

    def forward(net, x):
        x = F.relu(net.stem(x))
        half = x.shape[1] // 2
        return net.tail(torch.cat([x[:, :half], F.relu(net.right(x[:, half:]))], 1))

    return Net(forward, stem=conv(3, 12), right=conv(6, 8), tail=tail(14))


def three_ways():
    """Three pieces, one of which is read twice."""

    def forward(net, x):
        one, two, three = F.relu(net.stem(x)).chunk(3, 1)
        return net.tail(torch.cat([net.one(one), net.two(two), net.three(three), three], 1))

    return Net(forward, stem=conv(3, 12), one=conv(4, 4), two=conv(4, 5), three=conv(4, 6), tail=tail(19))


PATTERNS = (
    Pattern(dense_block, {"stem": 8, "conv1": 4, "conv2": 4}),
    Pattern(u_net, {"down1": 6, "down2": 8, "up": 6, "join": 6}),
    Pattern(inception, {"one": 4, "three": 6}),
    Pattern(cross_stage, {"stem": 6, "inner": 8, "outer": 6, "join": 8}),
    Pattern(halves_by_slices, {"stem": 6, "stem#2": 6, "right": 8}),
    Pattern(three_ways, {"stem": 4, "stem#2": 4, "stem#3": 4, "one": 4, "two": 5, "three": 6}),
)  # fmt: skip
