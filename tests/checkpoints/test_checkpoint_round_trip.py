from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import safetensors
import torch

from compressor import load, save
from compressor.checkpoints import fresh
from compressor.costs import count_parameters
from compressor.errors import CheckpointError, UsageError

every_format = pytest.mark.parametrize("suffix", [".pt", ".safetensors"])

RELOAD = """
import sys
sys.modules["torch_pruning"] = None
import torch
from compressor import load
with torch.no_grad():
    for path in sys.argv[1:]:
        network = load(path)
        torch.save(network.model(network.example_input()), f"{path}.outputs")
"""


@torch.no_grad()
def outputs(network):
    return network.model(network.example_input())


def saved(network, path):
    save(network, path)
    return load(path)


@every_format
def test_outputs_are_equal_to_the_last_bit(tmp_path, network, suffix):
    assert torch.equal(outputs(saved(network, tmp_path / f"m{suffix}")), outputs(network))


@every_format
def test_everything_known_comes_back(tmp_path, network, suffix):
    assert saved(network, tmp_path / f"m{suffix}").metadata == network.metadata


@every_format
def test_checkpoint_that_knows_little_comes_back_as_little(tmp_path, suffix):
    plain = fresh("lenet5")
    assert saved(plain, tmp_path / f"m{suffix}").metadata == plain.metadata


@every_format
def test_second_save_after_loading_writes_the_same_header(tmp_path, network, suffix):
    again = saved(saved(network, tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}")
    assert again.metadata == network.metadata


@every_format
def test_loaded_model_is_in_evaluation_mode(tmp_path, network, suffix):
    network.model.train()
    assert not saved(network, tmp_path / f"m{suffix}").model.training


@every_format
def test_saving_changes_nothing_in_the_model(tmp_path, network, suffix):
    before = {key: value.clone() for key, value in network.model.state_dict().items()}
    network.model.train()
    save(network, tmp_path / f"m{suffix}")
    assert network.model.training
    assert all(torch.equal(value, before[key]) for key, value in network.model.state_dict().items())


@every_format
def test_shrunk_network_comes_back_with_its_sizes_and_outputs(tmp_path, shrunk, suffix):
    again = saved(shrunk, tmp_path / f"m{suffix}")
    assert again.model.layer1[0].conv1.out_channels == 11
    assert again.model.layer1[0].bn1.num_features == 11
    assert count_parameters(again.model) == count_parameters(shrunk.model)
    assert torch.equal(outputs(again), outputs(shrunk))


@every_format
def test_shrunk_network_can_be_trained_after_loading(tmp_path, shrunk, suffix):
    model = saved(shrunk, tmp_path / f"m{suffix}").model.train()
    model(shrunk.example_input()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_shrunk_network_reloads_in_a_fresh_process_without_the_pruning_library(tmp_path, shrunk):
    paths = [str(tmp_path / name) for name in ("m.pt", "m.safetensors")]
    for path in paths:
        save(shrunk, path)
    subprocess.run([sys.executable, "-c", RELOAD, *paths], check=True, capture_output=True)
    for path in paths:
        assert torch.equal(torch.load(f"{path}.outputs", weights_only=True), outputs(shrunk))


def test_pt_file_reads_with_plain_torch_and_without_pickle(tmp_path, network):
    save(network, tmp_path / "m.pt")
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert content["header"]["architecture"] == {"ref": "lenet5", "args": {"num_classes": 4}}
    assert torch.equal(content["state"]["fc2.bias"], network.model.fc2.bias)


def test_safetensors_file_reads_with_the_plain_library_and_keeps_its_header_there(tmp_path, network):
    save(network, tmp_path / "m.safetensors")
    with safetensors.safe_open(tmp_path / "m.safetensors", "pt") as file:
        header = json.loads(file.metadata()["compressor.checkpoint"])
        assert torch.equal(file.get_tensor("fc2.bias"), network.model.fc2.bias)
    assert header["classes"] == ["a", "b", "c", "d"]


def test_header_names_the_tools_that_wrote_it(tmp_path, network):
    save(network, tmp_path / "m.pt")
    tools = torch.load(tmp_path / "m.pt", weights_only=True)["header"]["tools"]
    assert tools["torch"] == str(torch.__version__)
    assert set(tools) == {"compressor", "torch", "python"}


@every_format
def test_tied_weights_come_back_tied(tmp_path, tied, suffix):
    save(tied, tmp_path / f"m{suffix}")
    again = load(tmp_path / f"m{suffix}", trust_arch=True)
    assert again.model.one.weight is again.model.other.weight
    assert torch.equal(outputs(again), outputs(tied))


@every_format
def test_weights_in_another_memory_order_come_back(tmp_path, network, suffix):
    network.model.to(memory_format=torch.channels_last)
    assert torch.equal(
        saved(network, tmp_path / f"m{suffix}").model.conv2.weight, network.model.conv2.weight.contiguous()
    )


@every_format
def test_existing_file_is_kept_without_overwrite(tmp_path, network, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists; choose another --out, or pass --overwrite"):
        save(network, path)
    assert path.read_bytes() == b"precious"


@every_format
def test_existing_file_is_replaced_with_overwrite(tmp_path, network, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"old")
    save(network, path, overwrite=True)
    assert torch.equal(outputs(load(path)), outputs(network))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["m", "m.pth", "m.onnx", "m.PT"])
def test_unknown_ending_is_refused_with_the_known_ones(tmp_path, network, name):
    with pytest.raises(UsageError, match=rf"{name} must end in \.pt or \.safetensors"):
        save(network, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), torch.zeros(1), object()])
def test_history_that_is_no_plain_data_is_refused(tmp_path, network, figure):
    odd = replace(network, metadata=network.metadata.with_stage("evaluate", figure=figure))
    with pytest.raises(CheckpointError, match="the checkpoint's header must be plain data"):
        save(odd, tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())


def test_model_of_another_structure_than_its_architecture_is_refused(tmp_path, network):
    network.model.fc1 = torch.nn.Flatten()
    with pytest.raises(CheckpointError, match="module 'fc1' is not the architecture's; only sizes may differ"):
        save(network, tmp_path / "m.pt")


def test_model_with_an_additional_tensor_is_refused(tmp_path, network):
    network.model.conv1.register_buffer("extra", torch.zeros(2))
    with pytest.raises(CheckpointError, match="module 'conv1' gained or lost a tensor"):
        save(network, tmp_path / "m.pt")


def test_random_weights_are_those_of_the_seed():
    one, same, other = (fresh("lenet5", seed=seed).model.fc2.weight for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_random_numbers_of_the_caller_are_not_disturbed(tmp_path, network):
    state = torch.random.get_rng_state()
    fresh("lenet5")
    saved(network, tmp_path / "m.pt")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_example_input_has_the_shape_and_is_always_the_same(network):
    assert network.example_input(3).shape == (3, 1, 28, 28)
    assert torch.equal(network.example_input(), network.example_input())
