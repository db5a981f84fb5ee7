"""Which groups can lose all their channels, together with which others, and what goes with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor import checkpoints
from compressor.architectures.constant import Constant
from compressor.channels import branches
from compressor.checkpoints import Network
from compressor.checkpoints.metadata import Architecture, Metadata
from compressor.costs import cost_model, count_macs, count_parameters
from compressor.equivalence import output_difference
from compressor.groups import find_groups, zero
from compressor.groups.known import KnownGroups
from compressor.shrinking import remove_zero_channels

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


def block(*layers):
    return nn.Sequential(*layers)


def conv(into, out, kernel=1, **options):
    return nn.Conv2d(into, out, kernel, padding=kernel // 2, bias=False, **options)


class Added(nn.Module):
    """What a branch gives, written into the result of the branch as torchvision's blocks do, or not."""

    def __init__(self, branch, *, written=False):
        super().__init__()
        self.branch, self.written = branch, written

    def forward(self, x):
        out = self.branch(x)
        if self.written:
            out += x
            return F.relu(out, inplace=True)
        return F.relu(x + out)


class Strided(nn.Module):
    """A block of a ResNet that halves heights and widths, and writes into what its branch gives."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(6, 4), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = conv(4, 5, 3, stride=2), nn.BatchNorm2d(5)
        self.conv3, self.bn3 = conv(5, 6), nn.BatchNorm2d(6)
        self.shortcut = conv(6, 6, stride=2)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.shortcut(x)
        return F.relu(out)


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 4, 1), nn.Conv2d(4, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Head(nn.Module):
    def __init__(self, *blocks, channels=6):
        super().__init__()
        self.stem = conv(3, channels)
        for number, made in enumerate(blocks):
            self.add_module(f"block{number}", made)
        self.head, self.blocks = nn.Linear(channels, 3), len(blocks)

    def forward(self, x):
        x = self.stem(x)
        for number in range(self.blocks):
            x = self.get_submodule(f"block{number}")(x)
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    def __init__(self, *, first):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=first, dropout=0.0)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


class Parallel(nn.Module):
    """Two ways beside each other: each may go, but not both."""

    def __init__(self):
        super().__init__()
        self.one, self.other = (nn.Sequential(conv(3, 5), nn.ReLU(), conv(5, 6)) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head((self.one(x) + self.other(x)).mean((2, 3)))


class Beside(nn.Module):
    """As in an Inception: ways whose results lie side by side."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.inner, self.outer = conv(3, 6), conv(6, 4), conv(6, 5), conv(5, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(torch.cat([self.one(x), F.relu(self.outer(F.relu(self.inner(x))))], 1).mean((2, 3)))


class Trunk(nn.Module):
    """Blocks between a first layer and a last one, around all of which the input goes too."""

    def __init__(self):
        super().__init__()
        self.first, self.last = conv(3, 6, 3), conv(6, 3, 3)
        self.blocks = nn.Sequential(*(Added(block(conv(6, 5), nn.ReLU(), conv(5, 6))) for _ in range(3)))

    def forward(self, x):
        return x + self.last(self.blocks(self.first(x)))


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.inner, self.outer = conv(3, 6), conv(6, 5), conv(5, 2)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = F.relu(self.stem(x))
        return self.head(x.mean((2, 3))), self.outer(F.relu(self.inner(x)))


def basic():
    return block(conv(6, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), conv(5, 6, 3), nn.BatchNorm2d(6))


def inverted():
    return block(conv(6, 8), nn.BatchNorm2d(8), nn.SiLU(), conv(8, 8, 3, groups=8), Gate(8), conv(8, 6))


NETWORKS = {
    "basic": (lambda: Head(Added(basic())), IMAGE, [{"block0.branch.0"}]),
    "written into": (lambda: Head(Added(basic(), written=True)), IMAGE, [{"block0.branch.0"}]),
    "bottleneck": (lambda: Head(Strided()), IMAGE, [{"block0.conv1", "block0.conv2"}]),
    "inverted": (lambda: Head(Added(inverted())), IMAGE, [{"block0.branch.0", "block0.branch.4.down"}]),
    "gate": (lambda: Head(Gate(6)), IMAGE, [{"block0.down"}]),
    "norm behind": (
        lambda: Transformer(first=False), TOKENS, [{"layer.self_attn", "layer.self_attn#2"}, {"layer.linear1"}]
    ),
    "norm before": (
        lambda: Transformer(first=True), TOKENS, [{"layer.self_attn", "layer.self_attn#2"}, {"layer.linear1"}]
    ),
    "chain": (lambda: Head(nn.Sequential(conv(6, 5), nn.ReLU(), conv(5, 6))), IMAGE, []),
    "classifier": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3)), IMAGE, []),
    "beside": (Beside, IMAGE, []),
    "parallel": (Parallel, IMAGE, [{"one.0"}]),
    "trunk": (Trunk, IMAGE, [{f"blocks.{number}.branch.0"} for number in range(3)]),
    "two outputs": (TwoOutputs, IMAGE, []),
}  # fmt: skip
every = pytest.mark.parametrize("name", NETWORKS)
droppable = pytest.mark.parametrize("name", [name for name, (_, _, found) in NETWORKS.items() if found])


def made(name, seed=0):
    make, example, _ = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = make()
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
                nn.init.normal_(norm.bias)
    return model.eval(), example


def emptied(model, groups, branch):
    for group in groups:
        if group.name in branch.groups:
            zero(model, group, torch.arange(group.channels))


@every
def test_what_can_go_as_a_whole_is_found(name):
    model, example = made(name)
    found = branches([group for group in find_groups(model, example) if group.prunable])
    assert sorted(sorted(branch.groups) for branch in found) == sorted(map(sorted, NETWORKS[name][2]))


def alive(model, example):
    """Whether all outputs depend on the inputs."""
    given = model(example), model(example + torch.randn(example.shape))
    pairs = zip(*(out if isinstance(out, tuple) else (out,) for out in given), strict=True)
    return all(not torch.allclose(one, other) for one, other in pairs)


@droppable
def test_no_subset_of_branches_cuts_a_network_or_costs_something_else(name):
    groups = find_groups(*made(name))
    found = list(branches([group for group in groups if group.prunable]))
    for chosen in range(1, 2 ** len(found)):
        model, example = made(name)
        gone = [branch for place, branch in enumerate(found) if chosen >> place & 1]
        for branch in gone:
            emptied(model, groups, branch)
        names = {group for branch in gone for group in branch.groups}
        kept = [0 if group.name in names else group.channels for group in groups]
        expected = [cost_model(model, example, groups, kind).total(kept) for kind in ("macs", "params")]
        small = remove_zero_channels(model, example, groups=groups, align=1).model
        assert [count_macs(small, example), count_parameters(small)] == expected
        assert alive(small, example)


@droppable
def test_a_network_without_its_branches_is_saved_and_loaded(name, tmp_path):
    model, example = made(name)
    groups = find_groups(model, example)
    for branch in branches([group for group in groups if group.prunable]):
        emptied(model, groups, branch)
    small = remove_zero_channels(model, example, groups=groups, align=1).model
    file = tmp_path / "small.pt"
    checkpoints.save(
        small, file, arch=f"{__file__}:rebuilt_{name.replace(chr(32), chr(95))}", input_shape=tuple(example.shape[1:])
    )
    loaded = checkpoints.load(file, trust_arch=True).model
    assert output_difference(small, loaded, example) == 0.0
    assert any(isinstance(module, Constant) for module in loaded.modules())


for _name in NETWORKS:
    globals()[f"rebuilt_{_name.replace(' ', '_')}"] = NETWORKS[_name][0]


def test_another_size_of_the_image_fits_what_is_as_large_as_the_branch_was():
    model, example = made("bottleneck")
    groups = find_groups(model, example)
    for branch in branches([group for group in groups if group.prunable]):
        emptied(model, groups, branch)
    small = remove_zero_channels(model, example, groups=groups, align=1).model
    assert small.block0.conv3.step == 2
    assert output_difference(model, small, torch.randn(3, 3, 13, 10)) <= 1e-6


@pytest.mark.parametrize("name", ["norm behind", "norm before"])
def test_an_encoder_layer_without_attention_or_without_its_other_half_runs_by_its_own_fast_path(name):
    groups = find_groups(*made(name))
    for branch in branches([group for group in groups if group.prunable]):
        model, example = made(name)
        emptied(model, groups, branch)
        small = remove_zero_channels(model, example, groups=groups, align=1).model
        with torch.no_grad():
            assert torch.allclose(small.eval()(example), model.eval()(example), atol=1e-5)


def test_one_dead_group_of_two_takes_the_branch_with_it():
    model, example = made("bottleneck")
    groups = find_groups(model, example)
    last = next(group for group in groups if group.name == "block0.conv2")
    zero(model, last, torch.arange(last.channels))
    shrunk = remove_zero_channels(model, example, groups=groups, align=1)
    assert (shrunk.channels["block0.conv1"], shrunk.channels["block0.conv2"]) == ((4, 0), (5, 0))


def test_branches_are_kept_with_the_groups(tmp_path):
    model, example = made("inverted")
    known = Metadata(architecture=Architecture(ref="none"), input_shape=tuple(example.shape[1:]))
    network = Network(model, known)
    kept = KnownGroups(network, tmp_path / "groups.safetensors").kept()
    again = KnownGroups(network, tmp_path / "groups.safetensors").get()
    assert [group.branch for group in kept] == [group.branch for group in again]
    assert any(group.branch is not None for group in again)


def test_inner_modules_of_a_wrapper_have_their_prefix():
    model, example = made("basic")
    plain = {group.name: group.branch for group in find_groups(model, example)}
    wrapped = {group.name: group.branch for group in find_groups(torch.compile(model, backend="eager"), example)}
    assert plain["block0.branch.0"].gone == tuple(
        name.removeprefix("_orig_mod.") for name in wrapped["block0.branch.0"].gone
    )
