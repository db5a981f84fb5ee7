from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from compressor import load
from compressor.checkpoints import fresh
from compressor.checkpoints.reading import NESTINGS
from compressor.errors import CheckpointError, UsageError


@pytest.fixture
def model():
    return fresh("resnet20").model


def reloaded(content, path, **options):
    torch.save(content, path)
    return load(path, arch="resnet20", **options).model


def same(one, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def prefixed(state, *prefixes):
    return {"".join(prefixes) + key: value for key, value in state.items()}


def test_plain_state_dict_loads(tmp_path, model):
    assert same(reloaded(model.state_dict(), tmp_path / "m.pt"), model)


@pytest.mark.parametrize("suffix", [".pth", ".th", ".bin", ".ckpt", ""])
def test_ending_of_a_file_of_others_is_of_no_account(tmp_path, model, suffix):
    assert same(reloaded(model.state_dict(), tmp_path / f"m{suffix}"), model)


def test_safetensors_state_dict_loads(tmp_path, model):
    save_file(model.state_dict(), tmp_path / "m.safetensors")
    assert same(load(tmp_path / "m.safetensors", arch="resnet20").model, model)


def test_file_of_the_legacy_format_loads(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    assert same(load(tmp_path / "m.pth", arch="resnet20").model, model)


@pytest.mark.parametrize("nesting", NESTINGS)
def test_nested_state_dict_is_found_beside_other_entries(tmp_path, model, nesting):
    content = {"epoch": 3, "best": 0.9, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
    assert same(reloaded({**content, nesting: model.state_dict()}, tmp_path / "m.pt"), model)


@pytest.mark.parametrize(
    "prefixes", [("module.",), ("_orig_mod.",), ("module.", "_orig_mod."), ("_orig_mod.", "module.")]
)
@pytest.mark.parametrize("nesting", [None, "state_dict"])
def test_prefixes_of_wrappers_are_removed(tmp_path, model, prefixes, nesting):
    state = prefixed(model.state_dict(), *prefixes)
    assert same(reloaded({nesting: state} if nesting else state, tmp_path / "m.pt"), model)


def test_prefix_that_only_some_keys_have_is_kept_and_told(tmp_path, model):
    state = OrderedDict(model.state_dict())
    state["module.linear.bias"] = state.pop("linear.bias")
    with pytest.raises(CheckpointError, match=r"missing \(1\): linear\.bias; unexpected \(1\): module\.linear\.bias$"):
        reloaded(state, tmp_path / "m.pt")


def test_batch_counters_may_be_missing(tmp_path, model):
    state = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert same(reloaded(state, tmp_path / "m.pt"), model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_load_into_float32(tmp_path, model, dtype):
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in model.state_dict().items()}
    again = reloaded(state, tmp_path / "m.pt")
    assert {value.dtype for value in again.parameters()} == {torch.float32}
    assert torch.equal(again.conv1.weight, state["conv1.weight"].float())


def test_batch_counters_averaged_to_real_numbers_load(tmp_path, model):
    state = {key: value.float() for key, value in model.state_dict().items()}
    assert reloaded(state, tmp_path / "m.pt").bn1.num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda tensor: tensor.to(torch.int8), "int8"),
        (lambda tensor: tensor.to(torch.complex64), "complex64"),
        (lambda tensor: tensor.to_sparse(), "float32 sparse_coo"),
        (lambda tensor: tensor.to("meta"), "float32 meta"),
    ],
)
def test_weights_whose_copy_would_mean_something_else_are_refused(tmp_path, model, change, kind):
    state = {**model.state_dict(), "conv1.weight": change(model.conv1.weight.detach())}
    with pytest.raises(CheckpointError, match=rf"not dense real numbers \(1\): conv1\.weight is {kind}$"):
        reloaded(state, tmp_path / "m.pt")


def test_tensors_in_another_memory_order_load(tmp_path, model):
    turned = model.state_dict()["linear.weight"].t().contiguous().t()
    assert not turned.is_contiguous()
    assert same(reloaded({**model.state_dict(), "linear.weight": turned}, tmp_path / "m.pt"), model)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_state_dict_of_tied_weights_loads_tied(tmp_path, tied, suffix):
    state = {key: value.clone() for key, value in tied.model.state_dict().items()}
    path = tmp_path / f"m{suffix}"
    torch.save(state, path) if suffix == ".pt" else save_file(state, path)
    again = load(path, arch=tied.metadata.architecture.ref).model
    assert again.one.weight is again.other.weight
    assert same(again, tied.model)


def test_every_mismatch_is_listed_in_one_line(tmp_path, model):
    state = OrderedDict(model.state_dict())
    del state["bn1.weight"], state["bn1.bias"]
    state["head.weight"] = torch.zeros(2)
    state["linear.bias"] = torch.zeros(5)
    with pytest.raises(CheckpointError) as caught:
        reloaded(state, tmp_path / "m.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'm.pt'} does not fit resnet20: missing (2): bn1.bias, bn1.weight; "
        "unexpected (1): head.weight; wrong shape (1): linear.bias is 5 instead of 10"
    )


def test_state_dict_of_another_architecture_is_refused_in_one_line(tmp_path):
    torch.save(fresh("lenet5").model.state_dict(), tmp_path / "m.pt")
    with pytest.raises(
        CheckpointError, match=r"does not fit resnet20: missing \(\d+\): .*; unexpected \(7\): "
    ) as caught:
        load(tmp_path / "m.pt", arch="resnet20")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "args", "hint"),
    [
        ("lenet5", {}, "--arch lenet5"),
        ("resnet20", {}, "--arch resnet20"),
        ("resnet20", {"num_classes": 7}, "--arch resnet20 --arch-arg num_classes=7 --arch-arg in_channels=3"),
        ("lenet5", {"in_channels": 3}, "--arch lenet5 --arch-arg num_classes=10 --arch-arg in_channels=3"),
    ],
)
def test_builtin_architecture_that_fits_is_proposed(tmp_path, name, args, hint):
    path = tmp_path / "m.safetensors"
    save_file(fresh(name, arch_args=args).model.state_dict(), path)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value) == f"{path} does not say its architecture; pass --arch (its tensors fit {hint})"


@pytest.mark.parametrize("state", [{1: torch.zeros(3, 2)}, {"w": torch.zeros(3)}, {"w": torch.zeros(2, 0, 3, 3)}])
def test_state_dict_that_fits_no_builtin_asks_for_an_architecture(tmp_path, state):
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(UsageError, match=r"pass --arch \(for example --arch torchvision:resnet18\)"):
        load(tmp_path / "m.pt")


def test_arguments_of_the_architecture_are_taken(tmp_path):
    model = fresh("resnet20", arch_args={"num_classes": 7}).model
    assert same(reloaded(model.state_dict(), tmp_path / "m.pt", arch_args={"num_classes": 7}), model)


def test_options_say_what_a_file_of_others_does_not_know(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "m.pt")
    network = load(
        tmp_path / "m.pt", arch="resnet20", input_shape=(3, 64, 64), normalize="0.5/0.25", classes=["x", "y"]
    )
    assert network.metadata.input_shape == (3, 64, 64)
    assert str(network.metadata.normalization) == "0.5/0.25"
    assert network.metadata.classes == ("x", "y")


def test_network_without_an_input_shape_asks_for_one(tmp_path):
    (tmp_path / "nets.py").write_text("from torch import nn\ndef plain():\n    return nn.Linear(2, 2)\n")
    with pytest.raises(UsageError, match=r"plain does not say its input shape; pass --input-shape, e.g. 3x224x224"):
        fresh(f"{tmp_path / 'nets.py'}:plain")
