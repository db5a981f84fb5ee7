from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor import load
from compressor.checkpoints.structure import Edit
from compressor.errors import CheckpointError
from compressor.layer_kinds import agrees

CONV1 = {
    "edit": "resize",
    "module": "conv1",
    "sizes": {"groups": 1, "in_channels": 1, "out_channels": 20},
    "tensors": {"weight": [20, 1, 5, 5], "bias": [20]},
}


@pytest.fixture
def edited(tmp_path, content):
    """Writes a checkpoint with these edits and gives its path."""

    def write(*edits):
        content["header"]["edits"] = list(edits)
        torch.save(content, tmp_path / "m.pt")
        return tmp_path / "m.pt"

    return write


def refused(path, match):
    with pytest.raises(CheckpointError, match=match) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_edit_that_states_the_sizes_there_are_is_accepted(edited):
    assert load(edited(CONV1)).model.conv1.out_channels == 20


FORBIDDEN = [
    "forward",
    "__class__",
    "weight",
    "_forward_hooks",
    "__dict__",
    "training",
    "requires_grad_",
    "kernel_size",
]


@pytest.mark.parametrize("attribute", FORBIDDEN)
def test_edit_may_set_nothing_but_sizes(edited, attribute):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], attribute: 1}}
    refused(edited(edit), f"an edit may not set {attribute}$")


@pytest.mark.parametrize("attribute", [*FORBIDDEN[:2], "stride", "in_features"])
def test_edit_may_replace_no_tensor_that_the_module_has_not(edited, attribute):
    edit = {**CONV1, "tensors": {**CONV1["tensors"], attribute: [1]}}
    refused(edited(edit), "its edit of 'conv1' does not fit the architecture")


@pytest.mark.parametrize("attribute", ["num_features", "in_features", "normalized_shape"])
def test_edit_may_set_no_size_that_the_module_has_not(edited, attribute):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], attribute: 1}}
    refused(edited(edit), "its edit of 'conv1' does not fit the architecture")


@pytest.mark.parametrize("module", ["conv9", "", "conv1.weight", "__class__"])
def test_edit_of_an_unknown_module_is_refused(edited, module):
    path = edited({**CONV1, "module": module})
    refused(path, f"does not fit lenet5: its edit of '{module}' does not fit the architecture")


def test_every_edit_that_cannot_be_made_is_listed(edited):
    contradictory = {**CONV1, "sizes": {**CONV1["sizes"], "groups": 2}}
    refused(
        edited({**CONV1, "module": "conv9"}, CONV1, contradictory, {**CONV1, "module": "fc1"}),
        "does not fit lenet5: its edit of 'conv9' does not fit the architecture; its edit of 'conv1' contradicts "
        "itself: sizes and tensors differ; its edit of 'fc1' does not fit the architecture$",
    )


def test_of_very_many_the_rest_is_counted(edited):
    refused(
        edited(*({**CONV1, "module": f"conv{n}"} for n in range(3, 40))), "'conv12' does not fit [^;]*; and 27 more$"
    )


def test_unknown_kind_of_edit_is_refused(edited):
    path = edited({**CONV1, "edit": "replace"})
    refused(path, "unknown edit 'replace'")


@pytest.mark.parametrize("size", [10, 0, -1, 7.5, "20", None, [20], 10**30, True, float("nan")], ids=str)
def test_size_that_does_not_fit_the_tensors_is_refused(edited, size):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], "out_channels": size}}
    refused(
        edited(edit),
        "out_channels may not be|contradicts itself: sizes and tensors differ|does not fit the architecture",
    )


@pytest.mark.parametrize("groups", [2, 7, 20])
def test_groups_that_contradict_the_weight_are_refused(edited, groups):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], "groups": groups}}
    refused(edited(edit), "contradicts itself: sizes and tensors differ")


@pytest.mark.parametrize("rows", [0, -1, 10, 2**40, 2**62, 2**80, 1.5, "20", float("inf")], ids=str)
def test_shape_that_no_tensor_has_is_refused(edited, rows):
    edit = {**CONV1, "tensors": {"weight": [rows, 1, 5, 5], "bias": [20]}}
    refused(
        edited(edit),
        "weight may not be|contradicts itself|its edit of 'conv1' asks for a tensor of|"
        "m.pt does not fit lenet5: the network needs .* GiB of memory and at most 3.0 GiB is allowed; --max-memory",
    )


def test_consistent_edit_that_the_tensors_do_not_fit_lists_them(edited):
    sizes = {**CONV1["sizes"], "out_channels": 10}
    edit = {**CONV1, "sizes": sizes, "tensors": {"weight": [10, 1, 5, 5], "bias": [10]}}
    refused(
        edited(edit),
        r"wrong shape \(2\): conv1\.bias is 20 instead of 10, conv1\.weight is 20x1x5x5 instead of 10x1x5x5$",
    )


@pytest.mark.parametrize("part", ["edit", "module", "sizes", "tensors"])
@pytest.mark.parametrize("value", [..., None, 5, "abc", [], [1], {1: 2}], ids=str)
def test_damaged_edit_is_refused(edited, part, value):
    edit = {key: entry for key, entry in {**CONV1, part: value}.items() if entry is not ...}
    refused(edited(edit), "its header is damaged|does not fit the architecture")


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"proj_size": 3}, {"bias": False}])
@pytest.mark.parametrize("size", ["hidden_size", "input_size"])
def test_a_recurrent_layer_agrees_only_with_its_own_sizes(options, size):
    layer = nn.LSTM(8, 6, **options)
    assert agrees(layer)
    setattr(layer, size, 5)
    assert not agrees(layer)


def test_edit_reads_back_as_the_same():
    edit = Edit("norm", {"normalized_shape": (3, 4)}, {"weight": (3, 4), "num_batches_tracked": ()})
    assert Edit.from_plain(edit.to_plain()) == edit
