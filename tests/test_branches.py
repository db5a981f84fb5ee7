"""Residual branches in which every channel is zero are removed whole."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor import checkpoints
from compressor.architectures.cifar_resnet import resnet20
from compressor.architectures.constant import Constant
from compressor.costs import count_macs
from compressor.equivalence import output_difference
from compressor.errors import TargetNotMet
from compressor.export import export_onnx
from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels
from compressor.splitting import Splitting
from compressor.stages.shrink import layer_changes

IMAGE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
BRANCH = "layer2.1"


@pytest.fixture(scope="module")
def dense():
    """A ResNet-20 with random statistics in which one branch is dead."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet20().eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                nn.init.normal_(module.bias)
    groups = {group.name: group for group in find_groups(model, IMAGE)}
    zero(model, groups[f"{BRANCH}.conv1"], torch.arange(32))
    return model


@pytest.fixture(scope="module")
def shrunk(dense):
    return remove_zero_channels(dense, IMAGE)


def test_a_dead_branch_goes_whole_and_its_constant_stays(shrunk):
    branch = shrunk.model.get_submodule(BRANCH)
    assert [type(branch.get_submodule(name)) for name in ("conv1", "bn1", "conv2", "bn2")] == [
        nn.Identity, nn.Identity, Constant, nn.Identity
    ]  # fmt: skip
    assert branch.conv2.value.abs().sum() > 0
    assert shrunk.channels[f"{BRANCH}.conv1"] == (32, 0)


def test_the_outputs_are_those_of_the_dead_network(shrunk):
    assert shrunk.removal.float64 <= 1e-9
    assert shrunk.removal.float32 <= 1e-5


def test_the_macs_of_both_its_layers_are_saved(dense, shrunk):
    assert count_macs(dense, IMAGE) - count_macs(shrunk.model, IMAGE) == 2 * 32 * 32 * 9 * 16 * 16


def test_the_layers_that_went_are_told_as_zero_wide(dense, shrunk):
    found = {layer.name: layer for layer in layer_changes(dense, shrunk.model, IMAGE)}
    assert (found[f"{BRANCH}.conv1"].before, found[f"{BRANCH}.conv1"].after) == (32, 0)
    assert found[f"{BRANCH}.conv2"].macs_after == 0


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_checkpoint_records_it(shrunk, tmp_path, suffix):
    file = tmp_path / f"small{suffix}"
    checkpoints.save(shrunk.model, file, arch="resnet20")
    assert output_difference(shrunk.model, checkpoints.load(file).model, IMAGE) == 0.0


def test_onnx_has_fewer_nodes(dense, shrunk, tmp_path):
    nodes = []
    for name, model in (("dense", dense), ("small", shrunk.model)):
        export_onnx(model, IMAGE, tmp_path / f"{name}.onnx")
        nodes.append(sum(node.op_type == "Conv" for node in onnx.load(tmp_path / f"{name}.onnx").graph.node))
    assert nodes == [19, 17]


def test_the_channels_of_the_stream_can_still_be_removed(shrunk):
    stream = next(group for group in find_groups(shrunk.model, IMAGE) if group.name == "conv1")
    assert stream.prunable
    zero(shrunk.model, stream, torch.arange(8))
    smaller = remove_zero_channels(shrunk.model, IMAGE, align=1)
    assert smaller.channels["conv1"] == (16, 8)


def test_the_network_without_the_branch_can_be_trained(shrunk):
    shrunk.model.train()(IMAGE).sum().backward()
    assert shrunk.model.get_submodule(BRANCH).conv2.value.grad is not None


class Concatenated(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.out = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(6, 4, 1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.cat([x, self.out(F.relu(self.inner(x)))], 1))


def test_a_dead_branch_that_is_not_added_keeps_a_channel():
    model = Concatenated()
    group = next(group for group in find_groups(model, IMAGE) if group.name == "inner")
    zero(model, group, torch.arange(6))
    shrunk = remove_zero_channels(model, IMAGE, align=1)
    assert shrunk.channels["inner"] == (6, 1)
    assert isinstance(shrunk.model.inner, nn.Conv2d)


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 3)
        self.first, self.second = (
            nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 8, 3, padding=1)) for _ in range(2)
        )

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + self.first(x)
        return self.head((x + self.second(x)).mean((2, 3)))


def trained(**options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Blocks()
        # What the second block makes is hardly read.
        nn.init.constant_(model.second[2].weight, 1e-4)
        splitting = Splitting(model, IMAGE, total_steps=6, align=4, **options)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        splitting.attach(optimizer)
        for _ in range(6):
            optimizer.zero_grad()
            model(IMAGE).square().mean().backward()
            optimizer.step()
        return model, splitting, splitting.project()


def test_a_target_that_only_whole_blocks_meet_is_met_to_the_onnx_file(tmp_path):
    model, splitting, projection = trained(target_macs=0.05)
    gone = [name for name, (_, after) in projection.channels.items() if not after]
    assert set(gone) <= {"first.0", "second.0"}
    assert gone
    assert projection.met
    shrunk = remove_zero_channels(model, IMAGE, groups=splitting.groups, align=4)
    assert shrunk.channels == projection.channels
    assert count_macs(shrunk.model, IMAGE) == projection.macs[1]
    checkpoints.save(shrunk.model, tmp_path / "small.pt", arch=f"{__file__}:Blocks", input_shape=(3, 32, 32))
    loaded = checkpoints.load(tmp_path / "small.pt", trust_arch=True).model
    assert output_difference(shrunk.model, loaded, IMAGE) == 0.0
    export_onnx(loaded, IMAGE, tmp_path / "small.onnx")
    convolutions = [node for node in onnx.load(tmp_path / "small.onnx").graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 5 - 2 * len(gone)


def test_blocks_that_are_to_stay_put_the_target_out_of_reach():
    with pytest.raises(TargetNotMet, match="--keep-blocks"):
        trained(target_macs=0.05, keep_blocks=True)
