"""Recurrent layers: their hidden units are channels, and so is what they read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups import find_groups, is_zero, zero
from compressor.shrinking import remove_zero_channels

SIGNAL = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


class Reader(nn.Module):
    """Linear, recurrent, linear; ``states`` calls the recurrent layer."""

    def __init__(self, recurrent, width, states=lambda net, x: net.recurrent(x)[0]):
        super().__init__()
        self.first, self.recurrent, self.head = nn.Linear(3, 8), recurrent, nn.Linear(width, 4)
        self._states = states

    def forward(self, x):
        return self.head(self._states(self, self.first(x)))


def reader(kind="lstm", states=None, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = LAYERS[kind](8, 6, batch_first=True, **options)
        width = (layer.proj_size if kind == "lstm" and layer.proj_size else 6) * (1 + layer.bidirectional)
        return Reader(layer, width, *([states] if states else [])).eval()


def groups_of(model):
    return {group.name: group for group in find_groups(model, SIGNAL)}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_hidden_unit_is_a_row_of_every_gate(kind):
    (made,) = (m for m in groups_of(reader(kind))["recurrent"].members if m.role == "producer")
    assert made.index.tolist() == [[unit + 6 * gate for gate in range(GATES[kind])] for unit in range(6)]
    assert dict(made.tensors) == dict.fromkeys(("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"), 0)


def test_a_recurrent_layer_reads_its_own_units():
    readers = {m.module: m.tensors for m in groups_of(reader())["recurrent"].members if m.role == "consumer"}
    assert readers == {"recurrent": (("weight_hh_l0", 1),), "head": (("weight", 1),)}


def test_a_recurrent_layer_reads_the_channels_of_the_layer_before():
    readers = {m.module: m.tensors for m in groups_of(reader())["first"].members if m.role == "consumer"}
    assert readers == {"recurrent": (("weight_ih_l0", 1),)}


def test_a_unit_of_both_directions_is_read_in_two_places():
    group = groups_of(reader("gru", bidirectional=True))["recurrent"]
    (head,) = (m for m in group.members if m.module == "head")
    assert head.index.tolist() == [[unit, unit + 6] for unit in range(6)]


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 3}, {"bidirectional": True}, {"bias": False}], ids=str)
def test_zero_units_go_and_change_nothing(kind, options):
    model = reader(kind, **options)
    groups = list(groups_of(model).values())
    for group in groups:
        if group.prunable:
            zero(model, group, torch.tensor([0, 3, 4]))
    small = remove_zero_channels(model, SIGNAL, groups=groups, align=1).model
    assert (small.recurrent.input_size, small.recurrent.hidden_size) == (5, 3)


def test_a_unit_with_one_weight_left_stays():
    model = reader()
    group = groups_of(model)["recurrent"]
    zero(model, group, torch.tensor([0, 1]))
    with torch.no_grad():
        model.recurrent.weight_hh_l0[6 + 1, 2] = 1e-3
    assert is_zero(model, group).nonzero().flatten().tolist() == [0]


def test_packed_sequences_are_followed():
    def last(net, x):
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 4]), batch_first=True)
        return net.recurrent(packed)[1][-1]

    assert groups_of(reader("gru", last))["recurrent"].prunable


def test_units_that_are_outputs_stay():
    model = nn.Sequential(nn.Linear(3, 8), nn.GRU(8, 6, batch_first=True))
    assert groups_of(model)["1"].excluded == "its channels are outputs of the network"


def test_a_first_state_of_fixed_width_is_named():
    model = reader("gru", lambda net, x: net.recurrent(x, x.new_zeros(1, len(x), 6))[0])
    assert groups_of(model)["recurrent"].excluded == "recurrent starts from a state of fixed width"


def test_projections_keep_their_units_but_not_their_inputs():
    found = groups_of(reader(proj_size=3))
    assert "an nn.LSTM with projections" in found["recurrent"].excluded
    assert found["first"].prunable
