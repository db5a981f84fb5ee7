"""Widths that are written into the code, and what needs all channels at once."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail


def written_reshape():
    def forward(net, x):
        x = F.relu(net.conv2(F.relu(net.conv1(x))))
        return net.fc(x.reshape(-1, 6 * 64))

    return Net(forward, conv1=conv(3, 8), conv2=conv(8, 6), fc=nn.Linear(384, 4))


def written_slice():
    def forward(net, x):
        return net.tail(F.relu(net.conv2(F.relu(net.conv1(x))[:, :4])))

    return Net(forward, conv1=conv(3, 8), conv2=conv(4, 6), tail=tail(6))


def written_width():
    def forward(net, x):
        x = F.relu(net.conv(x))
        return net.tail(x + torch.linspace(0, 1, 8, dtype=x.dtype)[:, None, None])

    return Net(forward, conv=conv(3, 8), tail=tail(8))


def channel_mean():
    def forward(net, x):
        x = F.relu(net.conv(x))
        return net.tail(x - x.mean(1, keepdim=True))

    return Net(forward, conv=conv(3, 8), tail=tail(8))


def softmax_over_channels():
    return nn.Sequential(conv(3, 8), nn.Softmax(1), conv(8, 6), nn.ReLU(), tail(6))


def spatial_attention():
    """Weighs places by the mean and the largest of their channels, as CBAM does."""

    def forward(net, x):
        x = F.relu(net.conv(x))
        x = x * torch.sigmoid(net.places(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))
        return net.tail(F.relu(net.inner(x)))

    return Net(forward, conv=conv(3, 8), places=conv(2, 1), inner=conv(8, 6), tail=tail(6))


def groups_that_do_not_fit():
    """A norm in groups across a concatenation, the groups of which no width fits, as in diffusion's U-Nets."""

    def forward(net, x):
        x = net.first(x)
        return net.tail(F.relu(net.norm(torch.cat([x, net.second(F.relu(x))], 1))))

    return Net(forward, first=conv(3, 8), second=conv(8, 4), norm=nn.GroupNorm(2, 12), tail=tail(12))


PATTERNS = (
    Pattern(written_reshape, {"conv1": 8}, {"conv2": "breaks the network in fc .*384"}),
    Pattern(written_slice, {"conv2": 6}, {"conv1": "breaks the network in conv2", "conv1#2": "no .* reads it"}),
    Pattern(written_width, {}, {"conv": "meets a tensor of fixed width"}),
    Pattern(spatial_attention, {"inner": 6}, {"conv": "mean over the channels", "places": "broadcast over other"}),
    Pattern(
        groups_that_do_not_fit, {},
        {"first": "single channel, since norm normalises 12 channels in 2 groups", "second": "12 channels in 2 groups"},
    ),
    Pattern(channel_mean, {}, {"conv": "mean over the channels"}),
    Pattern(softmax_over_channels, {"2": 6}, {"0": "softmax over the channels"}),
)  # fmt: skip
