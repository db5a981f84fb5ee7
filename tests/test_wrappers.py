"""Compiled, distributed and scripted networks."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from compressor import checkpoints
from compressor.costs import count_macs
from compressor.errors import UsageError
from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network():
    inner = nn.Sequential(nn.Conv2d(8, 6, 3), nn.ReLU())
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), inner, nn.Conv2d(6, 2, 1)).eval()


def never(graph, inputs):
    raise AssertionError("the network was compiled")


def inside():
    model = network()
    model[2] = torch.compile(model[2], backend=never)
    return model


def in_place():
    model = network()
    model[2].compile(backend=never)
    return model


def whole():
    return torch.compile(network(), backend=never)


def ran():
    model = torch.compile(network(), backend="eager")
    with torch.no_grad():
        model(X)
    return model


@pytest.mark.parametrize("build", [inside, in_place, whole, ran])
def test_what_is_compiled_is_followed_as_it_is_written(build):
    model = build()
    groups = find_groups(model, X)
    assert [group.channels for group in groups if group.prunable] == [8, 6]
    assert count_macs(model, X) == count_macs(network(), X)
    for group in groups:
        if group.prunable:
            zero(model, group, torch.tensor([0, 3]))
    assert remove_zero_channels(model, X, groups=groups, align=1).removal.channels_removed == 4


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (lambda: torch.jit.trace(network(), X), "the network is"),
        (lambda: nn.Sequential(torch.jit.trace(network(), X), nn.ReLU()), "0 is"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_with_what_to_do(model, what):
    with pytest.raises(UsageError, match=f"^{what} TorchScript .*give the Python module that was scripted or traced"):
        find_groups(model(), X)


FACTORY = """
from torch import nn
def plain():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1))
def wrapped():
    return nn.DataParallel(plain())
"""


def test_a_wrapper_around_a_factory_is_no_part_of_the_architecture(tmp_path):
    (tmp_path / "nets.py").write_text(FACTORY)
    arch = f"{tmp_path / 'nets.py'}:wrapped"
    network = checkpoints.fresh(arch, input_shape=(3, 8, 8))
    assert type(network.model) is nn.Sequential
    torch.save(nn.DataParallel(network.model).state_dict(), tmp_path / "theirs.pt")
    assert type(checkpoints.load(tmp_path / "theirs.pt", arch=arch, input_shape=(3, 8, 8)).model) is nn.Sequential
    groups = find_groups(network.model, X)
    zero(network.model, groups[0], torch.tensor([1]))
    small = remove_zero_channels(network.model, X, groups=groups, align=1).model
    checkpoints.save(network.with_model(small), tmp_path / "small.pt")
    assert checkpoints.load(tmp_path / "small.pt", trust_arch=True).model[0].out_channels == 7


class Locked(nn.Sequential):
    def __init__(self, *layers):
        super().__init__(*layers)
        self.lock = threading.Lock()


def test_what_cannot_be_copied_is_named():
    model = nn.Sequential(Locked(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Conv2d(4, 2, 1))
    with pytest.raises(UsageError, match=r"cannot be copied \(0.lock: TypeError: cannot pickle .*may be made when"):
        find_groups(model, X)


@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_lazy_layers_are_refused_until_they_have_run():
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    with pytest.raises(UsageError, match="the sizes of 0 are not known yet; run the network once"):
        find_groups(model, X)
    model(X)
    assert find_groups(model, X)[0].prunable
