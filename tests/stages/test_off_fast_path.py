"""Groups whose widths the runtime does not reward, and what all of their layers take together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.benchmarking import fast_path as rules
from compressor.checkpoints import Metadata, Network
from compressor.costs import cost_model
from compressor.costs.layers import layers_of
from compressor.groups import find_groups
from compressor.records.benchmark import UnalignedLayer, WidthCost
from compressor.sources import Architecture
from compressor.stages.fast_path import GroupSite
from compressor.stages.inspect import inspect


@pytest.fixture(autouse=True)
def block(monkeypatch):
    """A processor that computes 16 channels at once, whichever this one is."""
    monkeypatch.setattr(rules, "channel_block", lambda: 16)


class Residual(nn.Module):
    """A stream of 12 channels, with 31 inside of its block, which ends in a depthwise and a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.inside = nn.Conv2d(12, 31, 3, padding=1)
        self.back = nn.Conv2d(31, 12, 1)
        self.apart = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.back(torch.relu(self.inside(x)))
        return self.head(torch.relu(self.apart(x)).mean((2, 3)))


@pytest.fixture
def network():
    return Network(Residual().eval(), Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 8)))


def test_groups_are_listed_with_their_rules_and_the_steps_beside_them(network):
    found = {one.name: one for one in inspect(network).off_fast_path}
    assert found == {
        "stem": UnalignedLayer(name="stem", channels=12, rule="block", step=16, snapped=(WidthCost(channels=16),)),
        "inside": UnalignedLayer(
            name="inside", channels=31, snapped=(WidthCost(channels=28), WidthCost(channels=32))
        ),
    }  # fmt: skip


def test_linear_layers_have_no_steps_and_outputs_stay():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 31), nn.ReLU(), nn.Linear(31, 5)).eval()
    network = Network(model, Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 8)))
    assert inspect(network).off_fast_path == ()


def test_all_layers_of_a_group_change_with_its_width(network):
    model, example = network.model, network.example_input()
    groups = find_groups(model, example)
    macs, layers = cost_model(model, example, groups, "macs"), layers_of(model, example)
    (stream,) = [place for place, group in enumerate(groups) if group.name == "stem"]
    changed = [(layer.kind, given, made) for layer, given, made in GroupSite(stream, 12, macs, layers).at(16)]
    assert changed == [
        ("convolution", 3, 16),
        ("convolution", 16, 31),
        ("convolution", 31, 16),
        ("depthwise", 16, 16),
        ("linear", 16, 5),
    ]


def test_widths_are_timed_when_that_is_asked_for(network):
    for one in inspect(network, measure_widths=True).off_fast_path:
        assert one.us > 0
        assert all(step.us > 0 for step in one.snapped)
