from __future__ import annotations

import json
from copy import deepcopy

import pytest
import torch
from safetensors.torch import save_file

from compressor import load, save
from compressor.checkpoints.structure import Edit
from compressor.errors import CheckpointError, CompressorError, UnknownName, UsageError

MISSING = object()
WRONG = [MISSING, None, 5, -1, 1.5, float("inf"), True, "abc", "", [], [1], [None], [[1, 2]], {}, {"a": 1}, {1: 2}]
# Which of the wrong values a field takes after all.
TAKES = {
    "version": [],
    "architecture": [],
    "edits": [[]],
    "input_shape": [[1]],
    "normalization": [None],
    "classes": [None, []],
    "data": [None],
    "history": [[]],
}
CONV1 = {
    "edit": "resize",
    "module": "conv1",
    "sizes": {"groups": 1, "in_channels": 1, "out_channels": 20},
    "tensors": {"weight": [20, 1, 5, 5], "bias": [20]},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, described):
    path = tmp_path_factory.mktemp("whole") / "m.pt"
    save(described, path)
    return torch.load(path, weights_only=True)


@pytest.fixture
def content(whole):
    """What torch reads from a whole checkpoint, to be damaged."""
    return {**whole, "header": deepcopy(whole["header"]), "state": dict(whole["state"])}


def changed(content, tmp_path, place, value):
    """The path of a copy of the file whose entry at ``place`` is another, or is gone."""
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    torch.save(content, tmp_path / "m.pt")
    return tmp_path / "m.pt"


def refused(path, match, error=CheckpointError):
    with pytest.raises(error, match=match) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, t in TAKES.items() for v in WRONG if v not in t], ids=str)
def test_field_of_a_wrong_type_is_refused(tmp_path, content, field, value):
    content["state"] = {}  # not read: the header comes first
    refused(changed(content, tmp_path, ("header", field), value), r"m\.pt cannot be read: its header ")


def test_table_of_fields_holds_every_field_that_is_read(content):
    assert set(TAKES) == set(content["header"]) - {"format", "tools"}


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("input_shape",), [-1, 28, 28], r"input_shape may not be \[-1, 28, 28\]"),
        (("input_shape",), [1, 28.5, 28], r"input_shape may not be \[1, 28.5, 28\]"),
        (("input_shape",), [], "input_shape may not be empty"),
        (("classes",), ["a", 2], r"classes may not be \['a', 2\]"),
        (("history",), [5], "history may not be 5"),
        (("architecture", "ref"), 5, "ref may not be 5"),
        (("architecture", "args"), [["num_classes", 4]], "args may not be"),
        (("data", "ref"), None, "ref may not be None"),
        (("data", "split_seed"), "3", "split_seed may not be '3'"),
        (("data", "val_fraction"), "0.1", "val_fraction may not be '0.1'"),
        (("data", "max_train"), 1.5, "max_train may not be 1.5"),
        (("data", "max_train"), MISSING, "max_train is missing"),
        (("normalization", "mean"), "abc", "normalization must hold lists"),
        (("normalization", "std"), [0.0], "standard deviations must be positive"),
        (("normalization", "std"), [10**400], "damaged"),
        (("edits",), ["conv1"], "edit is missing"),
    ],
    ids=str,
)
def test_damaged_detail_is_refused_with_its_name(tmp_path, content, place, value, reason):
    refused(changed(content, tmp_path, ("header", *place), value), f"its header is damaged: .*{reason}|{reason}")


def test_long_damage_is_shown_in_short(tmp_path, content):
    path = changed(content, tmp_path, ("header", "input_shape"), "x" * 10_000)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert len(str(caught.value)) < len(str(path)) + 200


@pytest.mark.parametrize("version", [0, 2, 99, "1", None])
def test_unknown_version_is_refused_with_the_known_one(tmp_path, content, version):
    path = changed(content, tmp_path, ("header", "version"), version)
    refused(path, rf"its header has version {version!r}, this compressor [\d.]+ reads version 1")


@pytest.mark.parametrize("part", ["header", "state"])
@pytest.mark.parametrize("value", [MISSING, None, 5, "abc", [], [1]], ids=str)
def test_file_whose_header_or_tensors_are_gone_is_refused(tmp_path, content, part, value):
    refused(changed(content, tmp_path, (part,), value), "is damaged: its header or its tensors are missing")


@pytest.mark.parametrize("value", [None, 5, "abc", [1.0], {"a": 1}], ids=str)
def test_entry_that_is_no_tensor_is_refused(tmp_path, content, value):
    path = changed(content, tmp_path, ("state", "conv1.weight"), value)
    refused(path, "is damaged: its header or its tensors are missing")


def test_missing_tensor_is_named(tmp_path, content):
    path = changed(content, tmp_path, ("state", "conv1.weight"), MISSING)
    refused(path, r"does not fit lenet5: missing \(1\): conv1\.weight$")


@pytest.mark.parametrize("header", ["", "{", "5", "[]", "null", '"text"', "[" * 100_000], ids=lambda text: text[:6])
def test_safetensors_header_that_is_no_json_object_is_refused(tmp_path, content, header):
    save_file(content["state"], tmp_path / "m.safetensors", {"compressor.checkpoint": header})
    refused(tmp_path / "m.safetensors", "is damaged: its header is no JSON")


@pytest.mark.parametrize(("field", "value"), [("input_shape", [float("inf")]), ("history", {}), ("edits", "abc")])
def test_safetensors_header_is_read_as_strictly(tmp_path, content, field, value):
    header = json.dumps({**content["header"], field: value})
    save_file(content["state"], tmp_path / "m.safetensors", {"compressor.checkpoint": header})
    refused(tmp_path / "m.safetensors", f"its header is damaged: {field} may not be")


def test_edit_that_states_the_sizes_there_are_is_accepted(tmp_path, content):
    assert load(changed(content, tmp_path, ("header", "edits"), [CONV1])).model.conv1.out_channels == 20


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
def test_edit_may_set_nothing_but_sizes(tmp_path, content, attribute):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], attribute: 1}}
    refused(changed(content, tmp_path, ("header", "edits"), [edit]), f"an edit may not set {attribute}$")


@pytest.mark.parametrize("attribute", [*FORBIDDEN[:2], "stride", "in_features"])
def test_edit_may_replace_no_tensor_that_the_module_has_not(tmp_path, content, attribute):
    edit = {**CONV1, "tensors": {**CONV1["tensors"], attribute: [1]}}
    refused(
        changed(content, tmp_path, ("header", "edits"), [edit]), "its edit of 'conv1' does not fit the architecture"
    )


@pytest.mark.parametrize("attribute", ["num_features", "in_features", "normalized_shape"])
def test_edit_may_set_no_size_that_the_module_has_not(tmp_path, content, attribute):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], attribute: 1}}
    refused(
        changed(content, tmp_path, ("header", "edits"), [edit]), "its edit of 'conv1' does not fit the architecture"
    )


@pytest.mark.parametrize("module", ["conv9", "", "conv1.weight", "__class__"])
def test_edit_of_an_unknown_module_is_refused(tmp_path, content, module):
    path = changed(content, tmp_path, ("header", "edits"), [{**CONV1, "module": module}])
    refused(path, f"does not fit lenet5: its edit of '{module}' does not fit the architecture")


def test_unknown_kind_of_edit_is_refused(tmp_path, content):
    path = changed(content, tmp_path, ("header", "edits"), [{**CONV1, "edit": "replace"}])
    refused(path, "unknown edit 'replace'")


@pytest.mark.parametrize("size", [10, 0, -1, 7.5, "20", None, [20], 10**30, True, float("nan")], ids=str)
def test_size_that_does_not_fit_the_tensors_is_refused(tmp_path, content, size):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], "out_channels": size}}
    refused(
        changed(content, tmp_path, ("header", "edits"), [edit]),
        "out_channels may not be|contradicts itself: sizes and tensors differ|does not fit the architecture",
    )


@pytest.mark.parametrize("groups", [2, 7, 20])
def test_groups_that_contradict_the_weight_are_refused(tmp_path, content, groups):
    edit = {**CONV1, "sizes": {**CONV1["sizes"], "groups": groups}}
    refused(changed(content, tmp_path, ("header", "edits"), [edit]), "contradicts itself: sizes and tensors differ")


@pytest.mark.parametrize("rows", [0, -1, 10, 2**40, 2**62, 2**80, 1.5, "20", float("inf")], ids=str)
def test_shape_that_no_tensor_has_is_refused(tmp_path, content, rows):
    edit = {**CONV1, "tensors": {"weight": [rows, 1, 5, 5], "bias": [20]}}
    refused(
        changed(content, tmp_path, ("header", "edits"), [edit]),
        "weight may not be|contradicts itself|its edit asks for a tensor of",
    )


def test_consistent_edit_that_the_tensors_do_not_fit_lists_them(tmp_path, content):
    sizes = {**CONV1["sizes"], "out_channels": 10}
    edit = {**CONV1, "sizes": sizes, "tensors": {"weight": [10, 1, 5, 5], "bias": [10]}}
    refused(
        changed(content, tmp_path, ("header", "edits"), [edit]),
        r"wrong shape \(2\): conv1\.bias is 20 instead of 10, conv1\.weight is 20x1x5x5 instead of 10x1x5x5$",
    )


@pytest.mark.parametrize("part", ["edit", "module", "sizes", "tensors"])
@pytest.mark.parametrize("value", [MISSING, None, 5, "abc", [], [1], {1: 2}], ids=str)
def test_damaged_edit_is_refused(tmp_path, content, part, value):
    content["state"] = {}  # not read: the edits come first
    edit = {key: entry for key, entry in {**CONV1, part: value}.items() if entry is not MISSING}
    refused(
        changed(content, tmp_path, ("header", "edits"), [edit]), "its header is damaged|does not fit the architecture"
    )


def test_edit_reads_back_as_the_same():
    edit = Edit("norm", {"normalized_shape": (3, 4)}, {"weight": (3, 4), "num_batches_tracked": ()})
    assert Edit.from_plain(edit.to_plain()) == edit


def test_unknown_architecture_in_a_header_suggests_the_nearest(tmp_path, content):
    refused(
        changed(content, tmp_path, ("header", "architecture", "ref"), "lenet"), "Did you mean 'lenet5'", UnknownName
    )


@pytest.mark.parametrize("args", [{"depth": 3}, {"num_classes": "x"}, {"num_classes": -1}, {"num_classes": 10**15}])
def test_arguments_in_a_header_that_do_not_fit_are_refused(tmp_path, content, args):
    path = changed(content, tmp_path, ("header", "architecture", "args"), args)
    with pytest.raises(CompressorError, match="does not fit lenet5|lenet5 failed with"):
        load(path)


def test_tensors_of_another_number_of_classes_are_refused(tmp_path, content):
    path = changed(content, tmp_path, ("header", "architecture", "args"), {"num_classes": 5})
    refused(path, r"wrong shape \(2\): fc2\.bias is 4 instead of 5, fc2\.weight is 4x500 instead of 5x500$")


@pytest.mark.parametrize("ref", ["{file}:net", "own:net", ":", "os:system", "subprocess:Popen"])
def test_code_named_by_a_header_is_refused_and_not_run(tmp_path, content, ref):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    ref = ref.format(file=tmp_path / "own.py")
    path = changed(content, tmp_path, ("header", "architecture"), {"ref": ref, "args": {}})
    refused(path, f"would run code .*; pass --arch {ref} or --trust-arch", UsageError)
    assert not (tmp_path / "harm").exists()
