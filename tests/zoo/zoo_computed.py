"""Weights that are computed whenever the network runs: their groups are those of the plain weights."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from zoo_parts import Net, Pattern, conv, tail


class Standardised(nn.Conv2d):
    """Standardises each filter by a norm over the weight, as in networks without norms, and scales it."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)

    def forward(self, x):
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(flat, None, None, weight=self.gain.view(-1) * 0.3, training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


def old(norm, layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return norm(layer)


def weight_normed():
    """A temporal convolution network's block, its weights in torch's old form, not yet run."""

    def forward(net, x):
        x = F.relu(net.first(x))
        return net.tail(F.relu(x + net.third(F.relu(net.second(x)))))

    return Net(
        forward, first=old(weight_norm, conv(3, 8)), second=old(weight_norm, conv(8, 6)),
        third=old(weight_norm, conv(6, 8)), tail=tail(8),
    )  # fmt: skip


def weight_parametrized():
    return nn.Sequential(
        parametrizations.weight_norm(conv(3, 8)),
        nn.ReLU(),
        parametrizations.weight_norm(conv(8, 6)),
        nn.ReLU(),
        tail(6),
    )


def spectral_normed():
    return nn.Sequential(
        old(spectral_norm, conv(3, 8)), nn.ReLU(), parametrizations.spectral_norm(conv(8, 6)), nn.ReLU(), tail(6)
    )


def standardised():
    return nn.Sequential(
        Standardised(3, 8, 3, padding=1), nn.ReLU(), Standardised(8, 6, 3, padding=1, bias=False), nn.ReLU(), tail(6)
    )


PATTERNS = (
    Pattern(weight_normed, {"first": 8, "second": 6}),
    Pattern(weight_parametrized, {"0": 8, "2": 6}),
    Pattern(spectral_normed, {"0": 8, "2": 6}),
    Pattern(standardised, {"0": 8, "2": 6}),
)
