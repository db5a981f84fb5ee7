from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from compressor.bare_weights import bare_weights
from compressor.costs import count_macs
from compressor.shrinking import shrink
from compressor.splitting import Splitting
from compressor.stages.shrink import layer_changes


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.up, self.fc = nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 6, 2, 2), nn.Linear(6, 4)

    def forward(self, x):
        return self.fc(F.relu(self.up(F.relu(self.conv(x)))).mean((2, 3)))


class Functions(Layers):
    """The same by functions."""

    def forward(self, x):
        x = F.relu(F.conv2d(x, self.conv.weight, self.conv.bias))
        x = F.relu(F.conv_transpose2d(x, self.up.weight, self.up.bias, 2))
        return F.linear(x.mean((2, 3)), self.fc.weight, self.fc.bias)


class Parameters(nn.Module):
    """The same by parameters of its own; that of the linear layer lies the other way round."""

    def __init__(self):
        super().__init__()
        layers = Layers()
        self.first, self.second = layers.conv.weight, layers.up.weight
        self.third = nn.Parameter(layers.fc.weight.detach().t().clone())

    def forward(self, x):
        x = F.relu(F.conv_transpose2d(F.relu(F.conv2d(x, self.first)), self.second, stride=2))
        return x.mean((2, 3)) @ self.third


X = torch.randn(2, 3, 10, 10, generator=torch.Generator().manual_seed(0))


def test_it_costs_the_same_however_it_is_written():
    assert count_macs(Layers(), X) == count_macs(Functions(), X) == count_macs(Parameters(), X) > 0


def test_the_axis_of_what_is_made_is_known():
    found = bare_weights(Parameters(), X, {})
    assert {name: weight.axis for name, weight in found.items()} == {"first": 0, "second": 1, "third": 1}


def test_a_network_of_layers_has_none():
    assert bare_weights(Layers(), X, {"conv": 1.0, "up": 1.0, "fc": 1.0}) == {}


def test_a_network_of_parameters_alone_reaches_its_target():
    model = Parameters()
    splitting = Splitting(model, X, total_steps=2, target_macs=0.6, penalty="l1", align=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    splitting.attach(optimizer)
    for _ in range(2):
        model(X).square().mean().backward()
        optimizer.step()
    assert set(splitting._weights) == {"first", "second", "third"}
    assert splitting.project().target.met
    assert count_macs(shrink(model, X, align=1), X) <= 0.6 * count_macs(model, X)


def test_their_widths_are_told():
    changes = layer_changes(Parameters(), Parameters(), X)
    assert {change.name: change.before for change in changes} == {"first": 8, "second": 6, "third": 4}
