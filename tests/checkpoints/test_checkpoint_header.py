from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from compressor import load
from compressor.errors import CheckpointError, CompressorError, UnknownName, UsageError

MISSING = type("Missing", (), {"__repr__": lambda self: "missing"})()  # a name that every process shares
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


def refused(path, match, error=CheckpointError, **options):
    with pytest.raises(error, match=match) as caught:
        load(path, **options)
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
        (("data", "split_seed"), MISSING, "split_seed is missing"),
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
    refused(tmp_path / "m.safetensors", "is damaged: its header is not (JSON|a JSON object)")


@pytest.mark.parametrize(("field", "value"), [("input_shape", [float("inf")]), ("history", {}), ("edits", "abc")])
def test_safetensors_header_is_read_as_strictly(tmp_path, content, field, value):
    header = json.dumps({**content["header"], field: value})
    save_file(content["state"], tmp_path / "m.safetensors", {"compressor.checkpoint": header})
    refused(tmp_path / "m.safetensors", f"its header is damaged: {field} may not be")


NOT_PLAIN = {
    "bytes": b"bytes",
    "set": {1, 2},
    "tensor": torch.zeros(2),
    "endless tensor": torch.zeros(1).expand(2**40),
    "complex": 1j,
    "nan": float("nan"),
    "key": {b"x": 1},
}


@pytest.mark.parametrize("value", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
@pytest.mark.parametrize("place", [("history", 0, "note"), ("tools",)], ids=str)
def test_header_that_is_not_plain_data_is_refused(tmp_path, content, place, value):
    refused(changed(content, tmp_path, ("header", *place), value), "its header is damaged: it holds more than plain")


def test_text_that_no_encoding_takes_is_kept(tmp_path, content):
    """The name of a folder that is not UTF-8 has such characters; they are printed as escapes."""
    path = changed(content, tmp_path, ("header", "history", 0, "note"), "\udcff")
    assert load(path).metadata.history[0]["note"] == "\udcff"


def test_unknown_architecture_in_a_header_suggests_the_nearest(tmp_path, content):
    refused(
        changed(content, tmp_path, ("header", "architecture", "ref"), "lenet"), "Did you mean 'lenet5'", UnknownName
    )


@pytest.mark.parametrize("args", [{"depth": 3}, {"num_classes": "x"}, {"num_classes": -1}, {"num_classes": 10**15}])
def test_arguments_in_a_header_that_do_not_fit_are_refused(tmp_path, content, args):
    path = changed(content, tmp_path, ("header", "architecture", "args"), args)
    with pytest.raises(CompressorError, match=r"does not fit lenet5|lenet5 failed with|lenet5 of .* GiB is allowed"):
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


OUTWARD = [
    {"pretrained": True},
    {"pretrained_cfg": {"url": "http://example.org/weights.pth"}},
    {"pretrained_cfg_overlay": {"file": "/etc/passwd"}},
    {"checkpoint_path": "harm"},
    {"cache_dir": "harm"},
    {"weights": "DEFAULT"},
    {"act_layer": "http://example.org"},
    {"block": ["relu", "../harm"]},
]


@pytest.mark.parametrize("args", OUTWARD, ids=str)
@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_arguments_that_reach_out_need_the_users_word(tmp_path, content, source, args):
    path = changed(content, tmp_path, ("header", "architecture"), {"ref": f"{source}:resnet18", "args": args})
    refused(
        path, "could fetch or read a file that the checkpoint names; pass --arch-arg .* or --trust-arch", UsageError
    )
    # The user's word covers the name, not what the file adds to it.
    refused(path, "could fetch or read a file that the checkpoint names", UsageError, arch=f"{source}:resnet18")


@pytest.mark.parametrize("args", [{"num_classes": 3}, {"act_layer": "gelu"}, {"dims": [1, 2]}, {"pretrained": False}])
def test_plain_arguments_of_a_library_need_no_word(tmp_path, content, args):
    path = changed(content, tmp_path, ("header", "architecture"), {"ref": "timm:resnet18", "args": args})
    refused(path, "needs timm, which cannot be imported|no timm model|does not fit|failed with", CompressorError)
