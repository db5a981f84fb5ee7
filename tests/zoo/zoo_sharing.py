"""Weights that are used twice, several inputs, several outputs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Net, Pair, Pattern, conv, image, tail


def repeated():
    def forward(net, x):
        return net.tail(F.relu(net.body(F.relu(net.body(F.relu(net.stem(x)))))))

    return Net(forward, stem=conv(3, 8), body=conv(8, 8), tail=tail(8))


def tied():
    """Two modules with one weight."""

    def forward(net, x):
        return net.tail(F.relu(net.second(F.relu(net.first(F.relu(net.stem(x)))))))

    net = Net(forward, stem=conv(3, 8), first=conv(8, 8), second=conv(8, 8), tail=tail(8))
    net.second.weight = net.first.weight
    return net


def shared_trunk():
    def forward(net, x):
        return net.head(torch.cat([net.trunk(x), net.trunk(x.flip(-1))], 1))

    return Net(
        forward, trunk=nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 6)),
        head=nn.Linear(12, 4),
    )  # fmt: skip


def two_inputs():
    def forward(net, image, vector):
        x = F.relu(net.conv(image)).mean((2, 3)) + net.fc(vector)
        return net.head(F.relu(x))

    return Pair(forward, conv=conv(3, 8), fc=nn.Linear(5, 8), head=nn.Linear(8, 4))


def two_outputs():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.classes(x.mean((2, 3))), net.mask(x)

    return Net(forward, stem=conv(3, 8), classes=nn.Linear(8, 4), mask=nn.Conv2d(8, 1, 1))


def dictionary():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return {"classes": net.classes(x.mean((2, 3))), "features": net.features(x)}

    return Net(forward, stem=conv(3, 8), classes=nn.Linear(8, 4), features=nn.Conv2d(8, 2, 1))


def inner_output():
    """The stem is also an output: it must stay."""

    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.tail(F.relu(net.conv(x))), x

    return Net(forward, stem=conv(3, 8), conv=conv(8, 6), tail=tail(6))


PATTERNS = (
    Pattern(repeated, {"stem": 8}),
    Pattern(tied, {"stem": 8}),
    Pattern(shared_trunk, {"trunk.0": 8, "trunk.2": 6, "trunk.5": 6}),
    Pattern(two_inputs, {"conv": 8}, inputs=lambda: (image(), image().flatten(1)[:, :5].contiguous())),
    Pattern(two_outputs, {"stem": 8}),
    Pattern(dictionary, {"stem": 8}),
    Pattern(inner_output, {"conv": 6}, {"stem": "its channels are outputs of the network"}),
)  # fmt: skip
