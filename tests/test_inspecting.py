from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from compressor.alignment import Alignment
from compressor.checkpoints import Metadata, Network
from compressor.costs import count_macs, count_parameters
from compressor.groups import find_groups, zero
from compressor.inspecting import inspect_network
from compressor.sources import Architecture

AUTO = Alignment.parse("auto")


def network(*layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*layers).eval()
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 8)))


def chain(activation=nn.ReLU):
    return network(nn.Conv2d(3, 8, 3, padding=1, bias=False), activation(), nn.Conv2d(8, 4, 1, bias=False))


def test_the_totals_are_those_of_the_counters():
    net = chain()
    found = inspect_network(net, AUTO)
    assert found["macs"] == count_macs(net.model, net.example_input()) == 8 * 3 * 9 * 64 + 4 * 8 * 64
    assert found["parameters"] == count_parameters(net.model) == 8 * 3 * 9 + 4 * 8


def test_the_least_macs_are_those_of_the_smallest_aligned_network():
    assert inspect_network(chain(), AUTO)["least_macs"] == 4 * 3 * 9 * 64 + 4 * 4 * 64
    assert inspect_network(chain(), Alignment(1))["least_macs"] == 1 * 3 * 9 * 64 + 4 * 1 * 64


def test_groups_come_with_members_costs_and_reasons():
    first, last = inspect_network(chain(), AUTO)["groups"]
    assert first == {
        "name": "0",
        "channels": 8,
        "macs": 8 * 3 * 9 * 64 + 4 * 8 * 64,
        "members": ["0 (producer)", "2 (consumer)"],
        "excluded": None,
    }
    assert last["excluded"] == "its channels are outputs of the network"


def test_zero_channels_are_counted():
    net = chain()
    zero(net.model, find_groups(net.model, net.example_input())[0], torch.tensor([0, 3, 5]))
    assert inspect_network(net, AUTO)["zero_channels"] == 3


def test_nothing_prunable_has_no_least_macs():
    found = inspect_network(chain(lambda: nn.Softmax(1)), AUTO)
    assert found["least_macs"] is None
    assert not [group for group in found["groups"] if group["excluded"] is None]


def test_the_document_is_plain_json():
    found = inspect_network(chain(), AUTO)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("training", [True, False])
def test_inspecting_leaves_the_mode_alone(training):
    net = chain()
    net.model.train(training)
    inspect_network(net, AUTO)
    assert net.model.training is training
