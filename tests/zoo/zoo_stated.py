"""Widths, numbers of heads and lists of widths that modules state as attributes, which follow what is removed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pattern, conv, tail


class Mixed(nn.Module):
    """MixNet's convolution: each piece of the channels has a kernel of its own."""

    def __init__(self, widths):
        super().__init__()
        self.splits = list(widths)
        self.small = nn.Conv2d(widths[0], widths[0], 3, padding=1, groups=widths[0])
        self.large = nn.Conv2d(widths[1], widths[1], 5, padding=2, groups=widths[1])

    def forward(self, x):
        one, other = torch.split(x, self.splits, 1)
        return torch.cat([self.small(one), self.large(other)], 1)


def mixed_kernels():
    """The pieces are as wide as a list says, and lose channels independently of each other."""
    return nn.Sequential(conv(3, 10), nn.ReLU(), Mixed((6, 4)), nn.ReLU(), conv(10, 6), nn.ReLU(), tail(6))


class Halves(nn.Module):
    """YOLO's split: both halves are as wide as an attribute says."""

    def __init__(self, width):
        super().__init__()
        self.c = width
        self.inner, self.out = conv(width, width), conv(2 * width, 6)

    def forward(self, x):
        left, right = x.split((self.c, self.c), dim=1)
        return self.out(torch.cat([left, right + F.relu(self.inner(right))], 1))


def halves_by_number():
    return nn.Sequential(conv(3, 8), nn.ReLU(), Halves(4), nn.ReLU(), tail(6))


class Cascade(nn.Module):
    """Res2Net's pieces, one number wide, each of which is added to the next before its convolution."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.first, self.second = conv(width, width), conv(width, width)

    def forward(self, x):
        one, two, three = torch.split(x, self.width, 1)
        one = F.relu(self.first(one))
        return torch.cat([one, F.relu(self.second(one + two)), three], 1)


def cascade():
    return nn.Sequential(conv(3, 12), nn.ReLU(), Cascade(4), conv(12, 6), nn.ReLU(), tail(6))


class EagerHeads(nn.Module):
    """Attention as many write it: the scale is the width of a head, a number of the module's."""

    def __init__(self, width, heads):
        super().__init__()
        self.num_attention_heads, self.attention_head_size = heads, width // heads
        self.all_head_size = width
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.attention_head_size)
        query, key, value = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / self.attention_head_size**0.5
        mixed = scores.softmax(-1) @ value
        return mixed.transpose(1, 2).reshape(*x.shape[:-1], self.all_head_size)


def heads_scaled_by_their_width():
    """Whole heads go, and the batch that is taken together with them is none of their pieces."""

    def forward(net, x):
        x = net.embed(x.flatten(2).transpose(1, 2))
        return net.head((x + net.out(net.attention(x))).mean(1))

    return Net(
        forward, embed=nn.Linear(3, 8), attention=EagerHeads(8, 4), out=nn.Linear(8, 8), head=nn.Linear(8, 4)
    )  # fmt: skip


class RadixAttention(nn.Module):
    """ResNeSt's: two halves that filters in two groups make are weighed against each other."""

    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = conv(width, 2 * width, groups=2), nn.BatchNorm2d(2 * width)
        self.squeeze, self.weigh = nn.Conv2d(width, 6, 1), nn.Conv2d(6, 2 * width, 1)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        x = x.reshape(x.shape[0], 2, x.shape[1] // 2, *x.shape[2:])
        weights = self.weigh(F.relu(self.squeeze(x.sum(1).mean((2, 3), keepdim=True))))
        weights = weights.view(x.shape[0], 1, 2, -1).transpose(1, 2).softmax(1).reshape(x.shape[0], -1, 1, 1)
        return (x * weights.reshape(x.shape[0], 2, -1, 1, 1)).sum(1)


def radix_attention():
    """A channel is one place in both groups of the convolution; so are those that it reads."""
    return nn.Sequential(conv(3, 8), nn.ReLU(), RadixAttention(8), conv(8, 6), nn.ReLU(), tail(6))


def powers_of_a_number():
    """A number raised to what is computed without any input, as tables of positions are."""

    def forward(net, x):
        scales = 100 ** (torch.arange(x.shape[-1], dtype=x.dtype) / 8)
        return net.tail(F.relu(net.conv(x)) / scales)

    return Net(forward, conv=conv(3, 8), tail=tail(8))


PATTERNS = (
    Pattern(mixed_kernels, {"0": 6, "2.large": 4, "4": 6}),
    Pattern(halves_by_number, {"0": 4, "2.out": 6}),
    Pattern(cascade, {"0": 4, "2.second": 4, "3": 6}),
    Pattern(heads_scaled_by_their_width, {"embed": 8, "attention.query": 4}),
    Pattern(radix_attention, {"0": 4, "2.conv": 8, "2.squeeze": 6, "3": 6}),
    Pattern(powers_of_a_number, {"conv": 8}),
)
