"""Edits that put another module in the place of one of the architecture's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.architectures.attention import SlimAttention
from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.architectures.constant import Constant
from compressor.checkpoints.structure import Edit, difference, replay
from compressor.errors import CheckpointError


def network(first=None):
    return nn.Sequential(first or nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1, bias=False))


@pytest.mark.parametrize(
    ("module", "kind", "sizes"),
    [
        (PaddedShortcut(1, 2, 3), "padded shortcut", {"before": 1, "after": 2, "step": 3}),
        (Constant(4, 2), "constant", {"channels": 4, "trailing": 2}),
        (nn.Identity(), "identity", {}),
    ],
)
def test_a_replacement_is_recorded_and_made_again(module, kind, sizes):
    (edit,) = difference(network(), network(module))
    assert (edit.kind, edit.module, edit.sizes) == (kind, "0", sizes)
    again = network()
    replay(again, (Edit.from_plain(edit.to_plain()),))
    assert type(again[0]) is type(module)
    assert {name: getattr(again[0], name) for name in sizes} == sizes


WIDTHS = {"input_width": 8, "query_width": 6, "value_width": 4, "output_width": 7, "num_heads": 2}


def attending(attention=None):
    return nn.Sequential(nn.Linear(3, 8), attention or nn.MultiheadAttention(8, 2, dropout=0.25, batch_first=True))


def test_slim_attention_is_recorded_and_made_again():
    (edit,) = difference(attending(), attending(SlimAttention(attending()[1], **WIDTHS)))
    assert (edit.kind, edit.module, edit.sizes) == ("attention", "1", WIDTHS)
    again = attending()
    replay(again, (Edit.from_plain(edit.to_plain()),))
    assert {name: getattr(again[1], name) for name in WIDTHS} == WIDTHS
    assert (again[1].scale, again[1].dropout, again[1].batch_first) == (0.5, 0.25, True)


def test_a_bias_inside_of_slim_attention_is_recorded_and_made_again():
    dense = nn.Sequential(nn.MultiheadAttention(8, 2, bias=False))
    small = nn.Sequential(SlimAttention(dense[0], **WIDTHS))
    small[0].out_proj.bias = nn.Parameter(torch.ones(7))
    edits = difference(dense, small)
    assert [edit.module for edit in edits] == ["0", "0.out_proj"]
    replay(dense, edits)
    assert dense[0].out_proj.bias.shape == (7,)


def test_slim_attention_takes_the_place_of_attention_alone():
    with pytest.raises(CheckpointError, match="does not fit the architecture"):
        replay(network(), (Edit("0", WIDTHS, {}, "attention"),))


@pytest.mark.parametrize(
    "wrong",
    [{"query_width": 7}, {"input_width": 1 << 40}, {"channels": 3}, {"query_width": 1 << 19, "input_width": 1 << 19}],
)
def test_slim_attention_of_impossible_widths_is_refused(wrong):
    with pytest.raises(CheckpointError, match="does not say what the attention needs"):
        replay(attending(), (Edit("1", WIDTHS | wrong, {}, "attention"),))


def test_a_bias_that_removal_added_is_recorded_and_made_again():
    small = network()
    small[2].bias = nn.Parameter(torch.ones(2))
    edits = difference(network(), small)
    again = network()
    replay(again, edits)
    assert again[2].bias.shape == (2,)


def test_only_a_bias_may_be_gained():
    small = network()
    small[0].register_buffer("extra", torch.ones(2))
    with pytest.raises(CheckpointError, match="gained or lost a tensor"):
        difference(network(), small)


@pytest.mark.parametrize(
    "sizes", [{}, {"channels": 4}, {"channels": 4, "trailing": 9}, {"channels": 1 << 40, "trailing": 2}]
)
def test_a_replacement_without_the_right_sizes_is_refused(sizes):
    with pytest.raises(CheckpointError, match="does not say what the constant needs"):
        replay(network(), (Edit("0", sizes, {}, "constant"),))


def test_a_replacement_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="unknown edit 'lambda'"):
        Edit.from_plain({"edit": "lambda", "module": "0", "sizes": {}, "tensors": {}})


class Told(nn.Sequential):
    """Tells a size of its layer's, as timm's blocks do."""

    @property
    def in_channels(self):
        return self[0].in_channels


def test_a_size_that_a_module_only_tells_is_no_edit():
    edits = difference(Told(nn.Conv2d(3, 4, 1)), Told(nn.Conv2d(2, 4, 1)))
    assert [edit.module for edit in edits] == ["0"]
