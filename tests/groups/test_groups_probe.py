"""What must not be removed, and that looking for it leaves the network alone."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.architectures.cifar_resnet import resnet20
from compressor.groups import find_groups

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self, forward, **modules):
        super().__init__()
        self._run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self._run(self, x)


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


def chain(*middle):
    return nn.Sequential(conv(3, 8), *middle, conv(8, 4))


def joined(forward, inputs=8, **extra):
    return Net(forward, inner=conv(3, 8), head=conv(inputs, 4), **extra)


def frozen_producer():
    net = chain(nn.ReLU())
    net[0].weight.requires_grad_(False)
    return net


def frozen_norm():
    net = chain(nn.BatchNorm2d(8), nn.ReLU())
    net[1].requires_grad_(False)
    return net


def two_outputs():
    def forward(net, x):
        inner = F.relu(net.inner(x))
        return net.head(inner), inner

    return joined(forward)


UNSOUND = {
    "sigmoid before zero padding": (lambda: chain(nn.Sigmoid()), r"f\(0\) != 0 sends 0.5 to 2, where zero padding"),
    "cosine before zero padding": (lambda: joined(lambda net, x: net.head(net.inner(x).cos())), r"sends 1 to head"),
    "softmax": (lambda: chain(nn.Softmax(1)), "^softmax over the channels in 1$"),
    "layer norm": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(192, 8), nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 4)
        ),
        "^2 normalises across the channels without a weight for each$",
    ),
    "functional layer norm": (
        lambda: joined(lambda net, x: net.head(F.layer_norm(net.inner(x), (8, 8, 8)))),
        "^the network's own forward normalises across the channels$",
    ),
    "norm over channels": (
        lambda: joined(lambda net, x: net.head((lambda y: y - y.mean(1, keepdim=True))(net.inner(x)))),
        "^mean over the channels in the network's own forward$",
    ),
    "group norm in one group": (lambda: chain(nn.GroupNorm(1, 8)), "^1 normalises across all channels$"),
    "hard-coded reshape": (
        lambda: Net(
            lambda net, x: net.head(F.relu(net.inner(x)).reshape(-1, 512)), inner=conv(3, 8), head=nn.Linear(512, 4)
        ),
        "breaks the network .*512",
    ),
    "hard-coded slice": (
        lambda: joined(lambda net, x: net.head(F.relu(net.inner(x))[:, :4]), inputs=4), "breaks the network"
    ),
    "buffer of fixed width": (
        lambda: joined(lambda net, x: net.head(net.inner(x) + torch.ones(8, 1, 1).to(x))),
        "^it meets a tensor of fixed width in the network's own forward$",
    ),
    "computed weight": (
        lambda: joined(lambda net, x: F.conv2d(net.inner(x), net.head.weight / net.head.weight.norm(), padding=1)),
        "computes its weight anew",
    ),
    "frozen producer": (frozen_producer, "0 is frozen"),
    "frozen norm": (frozen_norm, "1 is frozen"),
    "second output": (two_outputs, "^its channels are outputs of the network$"),
}  # fmt: skip


def excluded(model):
    return [group.excluded for group in find_groups(model, IMAGE) if group.excluded]


@pytest.mark.parametrize("case", UNSOUND)
def test_what_is_not_safe_is_excluded_with_the_reason(case):
    build, reason = UNSOUND[case]
    assert any(re.search(reason, found) for found in excluded(build()))


@pytest.mark.parametrize("case", UNSOUND)
def test_what_is_not_safe_leaves_nothing_to_prune(case):
    model = UNSOUND[case][0]()
    # Every network has one inner group only.
    assert not [group.name for group in find_groups(model, IMAGE) if group.prunable]


def test_a_fault_in_one_group_does_not_exclude_the_others():
    model = nn.Sequential(conv(3, 8), nn.Sigmoid(), conv(8, 6), nn.ReLU(), conv(6, 6), nn.ReLU(), conv(6, 4))
    found = {group.name: group.prunable for group in find_groups(model, IMAGE)}
    assert found == {"0": False, "2": True, "4": True, "6": False}


@pytest.fixture(scope="module")
def resnet_groups():
    return find_groups(resnet20(), torch.randn(2, 3, 32, 32))


def test_the_residual_stream_of_padded_shortcuts_is_prunable(resnet_groups):
    stream = {
        group.name: group.channels for group in resnet_groups if group.name.endswith("2") or "." not in group.name
    }
    # 16 channels run through all stages; each padded shortcut adds as many as it pads.
    assert stream == {"conv1": 16, "layer2.0.conv2": 16, "layer3.0.conv2": 32, "linear": 10}
    assert [group.name for group in resnet_groups if not group.prunable] == ["linear"]


def test_padded_channels_keep_their_places(resnet_groups):
    group = next(group for group in resnet_groups if group.name == "layer2.0.conv2")
    index = next(member.index for member in group.members if member.module == "layer2.0.conv2")
    assert index.flatten().tolist() == [*range(8), *range(24, 32)]


def test_inner_groups_beside_a_padded_shortcut_are_prunable(resnet_groups):
    inner = {group.name for group in resnet_groups if group.prunable and group.name.endswith(".conv1")}
    assert inner == {f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in (0, 1, 2)}


def partly_frozen():
    model = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), conv(8, 4), conv(4, 2))
    model.train()
    model[1].eval()
    model[5].requires_grad_(False)
    return model


def snapshot(model):
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "requires_grad": {name: parameter.requires_grad for name, parameter in model.named_parameters()},
        "hooks": {name: (len(m._forward_hooks), len(m._forward_pre_hooks)) for name, m in model.named_modules()},
        "grad": {name: parameter.grad for name, parameter in model.named_parameters()},
        "tensors": {name: id(parameter) for name, parameter in model.named_parameters()},
    }


def test_the_network_keeps_modes_gradients_and_hooks():
    model = partly_frozen()
    before = snapshot(model)
    find_groups(model, IMAGE)
    assert snapshot(model) == before


def test_the_network_keeps_its_weights_and_statistics():
    model = partly_frozen()
    before = copy.deepcopy(model.state_dict())
    find_groups(model, IMAGE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_global_random_stream_is_left_alone():
    model = chain(nn.ReLU())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    find_groups(model, IMAGE)
    assert torch.equal(torch.get_rng_state(), before)


def test_no_grad_around_the_search_changes_nothing():
    model = chain(nn.ReLU())
    with torch.no_grad():
        quiet = [(group.name, group.excluded) for group in find_groups(model, IMAGE)]
    assert quiet == [(group.name, group.excluded) for group in find_groups(model, IMAGE)]


def test_a_frozen_consumer_excludes_nothing():
    model = chain(nn.ReLU())
    model[2].requires_grad_(False)
    assert find_groups(model, IMAGE)[0].prunable


def test_the_search_gives_the_same_answer_twice():
    model = partly_frozen()
    assert [(g.name, g.excluded) for g in find_groups(model, IMAGE)] == [
        (g.name, g.excluded) for g in find_groups(model, IMAGE)
    ]
