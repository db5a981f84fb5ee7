"""Residual networks, and shortcuts that pad channels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Lambda, Net, Pattern, conv, tail

from compressor.architectures.cifar_resnet import BasicBlock


def residual():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.tail(F.relu(x + net.bn2(net.conv2(F.relu(net.bn1(net.conv1(x)))))))

    return Net(
        forward, stem=conv(3, 8), conv1=conv(8, 6), bn1=nn.BatchNorm2d(6), conv2=conv(6, 8), bn2=nn.BatchNorm2d(8),
        tail=tail(8),
    )  # fmt: skip


def bottleneck():
    def forward(net, x):
        x = F.relu(net.stem(x))
        inner = F.relu(net.widen(F.relu(net.bn(net.conv(F.relu(net.reduce(x)))))) + net.project(x))
        return net.tail(inner)

    return Net(
        forward, stem=conv(3, 8), reduce=nn.Conv2d(8, 4, 1), conv=conv(4, 4), bn=nn.BatchNorm2d(4),
        widen=nn.Conv2d(4, 12, 1), project=nn.Conv2d(8, 12, 1), tail=tail(12),
    )  # fmt: skip


def pre_activation():
    def forward(net, x):
        x = net.stem(x)
        x = x + net.conv2(F.relu(net.bn2(net.conv1(F.relu(net.bn1(x))))))
        return net.tail(F.relu(net.bn3(x)))

    return Net(
        forward, stem=conv(3, 8), bn1=nn.BatchNorm2d(8), conv1=conv(8, 6), bn2=nn.BatchNorm2d(6), conv2=conv(6, 8),
        bn3=nn.BatchNorm2d(8), tail=tail(8),
    )  # fmt: skip


def padded_shortcut():
    return nn.Sequential(conv(3, 8), nn.ReLU(), BasicBlock(8, 16, 2), BasicBlock(16, 16, 1), tail(16))


def lambda_block(shortcut, stride=2):
    def forward(net, x):
        return F.relu(net.bn2(net.conv2(F.relu(net.bn1(net.conv1(x))))) + net.shortcut(x))

    return Net(
        forward, conv1=conv(8, 16, stride=stride), bn1=nn.BatchNorm2d(16), conv2=conv(16, 16), bn2=nn.BatchNorm2d(16),
        shortcut=shortcut,
    )  # fmt: skip


def lambda_shortcut():
    """Its padding by 4 and 4 channels is written into a closure; an equal module takes its place."""
    shortcut = Lambda(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4), "constant", 0))
    return nn.Sequential(conv(3, 8), nn.ReLU(), lambda_block(shortcut), tail(16))


def pooled_shortcut():
    """A shortcut that no module of ours equals: its padding stays, the channels that it passes may go."""
    shortcut = Lambda(lambda x: F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 4, 4)))
    return nn.Sequential(conv(3, 8), nn.ReLU(), lambda_block(shortcut), tail(16))


def padding_in_forward():
    def forward(net, x):
        x = F.relu(net.stem(x))
        return net.tail(F.relu(net.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 8))))

    return Net(forward, stem=conv(3, 8), conv=conv(8, 16, stride=2), tail=tail(16))


def concatenated_zeros():
    def forward(net, x):
        x = F.relu(net.stem(x))
        zeros = x.new_zeros(x.shape[0], 8, 4, 4)
        return net.tail(F.relu(net.conv(x) + torch.cat([F.avg_pool2d(x, 2), zeros], 1)))

    return Net(forward, stem=conv(3, 8), conv=conv(8, 16, stride=2), tail=tail(16))


PATTERNS = (
    Pattern(residual, {"stem": 8, "conv1": 6}),
    Pattern(bottleneck, {"stem": 8, "reduce": 4, "conv": 4, "widen": 12}),
    Pattern(pre_activation, {"stem": 8, "conv1": 6}),
    Pattern(padded_shortcut, {"0": 8, "2.conv1": 16, "2.conv2": 8, "3.conv1": 16}),
    Pattern(lambda_shortcut, {"0": 8, "2.conv1": 16, "2.conv2": 8}),
    Pattern(pooled_shortcut, {"0": 8, "2.conv1": 16}, {"2.conv2": "it pads is written into 2.shortcut"}),
    Pattern(padding_in_forward, {"stem": 8}, {"conv": "it pads is written into the network's own"}),
    Pattern(concatenated_zeros, {"stem": 8}, {"conv": "meets a tensor of fixed width"}),
)  # fmt: skip
