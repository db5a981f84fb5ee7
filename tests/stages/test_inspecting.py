from __future__ import annotations

import msgspec
import pytest
import torch
from torch import nn

from compressor.checkpoints import Metadata, Network
from compressor.costs import count_macs, count_parameters
from compressor.groups import find_groups, zero
from compressor.records.stages import FrozenModule, GroupReport, Inspection, Prediction, UnevenWidth
from compressor.sources import Architecture
from compressor.stages.inspect import inspect


def network(*layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*layers).eval()
    return Network(model, Metadata(architecture=Architecture("tiny"), input_shape=(3, 8, 8)))


def chain(activation=nn.ReLU):
    return network(nn.Conv2d(3, 8, 3, padding=1, bias=False), activation(), nn.Conv2d(8, 4, 1, bias=False))


def test_the_totals_are_those_of_the_counters():
    net = chain()
    found = inspect(net)
    assert found.macs == count_macs(net.model, net.example_input()) == 8 * 3 * 9 * 64 + 4 * 8 * 64
    assert found.parameters == count_parameters(net.model) == 8 * 3 * 9 + 4 * 8


def test_the_least_macs_are_those_of_the_smallest_aligned_network():
    assert inspect(chain()).least_macs == 4 * 3 * 9 * 64 + 4 * 4 * 64
    assert inspect(chain(), align=1).least_macs == 1 * 3 * 9 * 64 + 4 * 1 * 64


def test_the_least_parameters_are_those_of_the_smallest_aligned_network():
    assert inspect(chain()).least_parameters == 4 * 3 * 9 + 4 * 4


def test_groups_come_with_members_costs_and_reasons():
    first, last = inspect(chain()).groups
    assert first == GroupReport(
        name="0",
        channels=8,
        macs=8 * 3 * 9 * 64 + 4 * 8 * 64,
        parameters=8 * 3 * 9 + 4 * 8,
        members=("0 (producer)", "2 (consumer)"),
        excluded=None,
        advice=None,
    )
    assert last.excluded == "its channels are outputs of the network"


def test_zero_channels_are_counted():
    net = chain()
    zero(net.model, find_groups(net.model, net.example_input())[0], torch.tensor([0, 3, 5]))
    assert inspect(net).zero_channels == 3


def test_known_groups_are_not_found_again(monkeypatch):
    net = chain()
    groups = find_groups(net.model, net.example_input())
    expected = inspect(net)
    monkeypatch.setattr("compressor.stages.inspect.find_groups", lambda *args: 1 / 0)
    assert inspect(net, groups=groups) == expected


def test_a_target_is_predicted_with_the_channels_that_meet_it():
    whole, half, quarter = inspect(chain()).predictions
    assert whole == Prediction(target=0.75, macs=4 * 3 * 9 * 64 + 4 * 4 * 64, parameters=124, channels={"0": 4})
    assert half == msgspec.structs.replace(whole, target=0.5)
    assert quarter == Prediction(target=0.25, macs=None, parameters=None, channels=None)


def test_frozen_parts_are_named_and_what_would_unlock_them():
    net = chain()
    net.model[0].requires_grad_(False)
    found = inspect(net)
    assert found.frozen == (FrozenModule(module="0", parameters=8 * 3 * 9),)
    assert found.groups[0].advice == "train 0 as well: requires_grad_(True)"


def test_a_change_is_told_once_with_all_groups_that_it_unlocks():
    net = network(nn.Conv2d(3, 8, 1), nn.GroupNorm(1, 8), nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    net.model[2].requires_grad_(False)
    changes = inspect(net).changes
    assert [change.groups for change in changes] == [("0",), ("2",)]
    assert [change.macs for change in changes] == [64 * (3 * 8 + 8 * 8), 64 * (8 * 8 + 8 * 4)]


def test_what_would_be_reached_with_everything_unlocked_is_said():
    net = chain()
    net.model[0].requires_grad_(False)
    found = inspect(net)
    assert found.least_macs is None
    assert found.least_macs_with_changes == 4 * 3 * 9 * 64 + 4 * 4 * 64


def test_nothing_is_said_about_unlocking_where_nothing_can_be():
    assert inspect(chain()).least_macs_with_changes is None


def test_widths_that_are_no_whole_step_are_listed_but_not_the_outputs():
    net = network(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 36, 1), nn.ReLU(), nn.Conv2d(36, 5, 1))
    assert inspect(net).unaligned == (
        UnevenWidth(layer="0", channels=6, step=4),
        UnevenWidth(layer="2", channels=36, step=8),
    )


def test_nothing_prunable_has_no_least_macs():
    found = inspect(chain(lambda: nn.Softmax(1)))
    assert found.least_macs is None
    assert not [group for group in found.groups if group.excluded is None]


def test_the_record_survives_json():
    found = inspect(chain())
    assert msgspec.json.decode(msgspec.json.encode(found), type=Inspection) == found


@pytest.mark.parametrize("training", [True, False])
def test_inspecting_leaves_the_mode_alone(training):
    net = chain()
    net.model.train(training)
    inspect(net)
    assert net.model.training is training
