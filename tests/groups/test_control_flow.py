"""Networks that go several ways: by values, by sizes, or by chance."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.channels import zero
from compressor.equivalence import output_difference, outputs
from compressor.errors import EquivalenceError
from compressor.groups import find_groups
from compressor.groups.advice import advice
from compressor.groups.control_flow import ControlFlow, with_other_sizes
from compressor.inputs import Examples
from compressor.shrinking import remove_zero_channels

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Ways(nn.Module):
    """One way through a branch with channels of its own, another through a single layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.long = nn.Sequential(nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Conv2d(6, 8, 1))
        self.short = nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return self.head((self.long if self.asks(x) else self.short)(self.stem(x).relu()))


class ByValue(Ways):
    def asks(self, x):
        return x.mean() > 0


class ByNumber(Ways):
    def asks(self, x):
        return float(x.amax()) > 1e6


class BySide(Ways):
    def asks(self, x):
        return x.shape[-1] >= 8


class ByBatch(Ways):
    def asks(self, x):
        return len(x) > 1


class ByBuffer(Ways):
    """What is no value of the input says nothing about other inputs."""

    def __init__(self):
        super().__init__()
        self.register_buffer("on", torch.tensor(True))

    def asks(self, x):
        return bool(self.on)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def reasons(model, inputs=IMAGE):
    return {group.name: group.excluded for group in find_groups(model, inputs)}


@pytest.mark.parametrize("kind", [ByValue, ByNumber])
def test_what_meets_a_decision_by_values_stays(kind):
    found = reasons(kind())
    assert "decides by values which way to go (test_control_flow.py, line" in found["stem"]
    assert "--example FILE" in advice(found["stem"])
    # Only what lies inside the branch that was taken may go.
    assert {name for name, reason in found.items() if reason is None} <= {"long.0"}


def test_several_examples_show_every_way():
    found = reasons(ByValue(), Examples(IMAGE.abs(), -IMAGE.abs()))
    assert {name: reason for name, reason in found.items() if reason is None}.keys() == {"stem", "long.0", "long.2"}
    (group,) = [group for group in find_groups(ByValue(), Examples(IMAGE.abs(), -IMAGE.abs())) if group.name == "stem"]
    assert {member.module for member in group.members} == {"stem", "long.0", "short"}


@pytest.mark.parametrize("kind", [BySide, ByBatch])
def test_other_sizes_that_go_another_way_are_followed(kind):
    model = kind().eval()
    groups = {group.name: group for group in find_groups(model, IMAGE)}
    assert [name for name, group in groups.items() if group.prunable] == ["stem", "long.0", "long.2"]
    assert {member.module for member in groups["stem"].members} == {"stem", "long.0", "short"}
    for group in groups.values():
        if group.prunable:
            zero(model, group, torch.arange(2))
    small = remove_zero_channels(model, IMAGE, align=1).model
    for image in (IMAGE, IMAGE[:1], IMAGE[..., :4]):
        assert output_difference(model, small, image) <= 1e-5
    assert small.short.weight.shape == (6, 6, 1, 1)


def test_a_size_that_the_example_does_not_show_is_compared_at_removal(monkeypatch):
    """Groups found on one way only are a fault, which the comparison after removal sees."""
    model = BySide().eval()
    monkeypatch.setattr("compressor.groups.probe.with_other_sizes", lambda _, inputs: inputs)
    groups = find_groups(model, IMAGE)
    for group in groups:
        if group.prunable:
            zero(model, group, torch.arange(2))
    with pytest.raises(EquivalenceError, match=r"^removing channels of stem breaks the network in short"):
        remove_zero_channels(model, IMAGE, align=1, groups=groups)


@pytest.mark.parametrize("kind", [ByBuffer, Ways])
def test_a_network_that_goes_one_way_is_followed_once(kind, monkeypatch):
    monkeypatch.setattr(Ways, "asks", lambda self, x: True, raising=False)
    model = kind().eval()
    flow = ControlFlow(model, IMAGE)
    assert not flow.decides
    assert not flow.random
    assert flow.ran == {"", "stem", "long", "long.0", "long.1", "long.2", "head"}
    assert len(with_other_sizes(model, Examples(IMAGE)).calls) == 1


class Noisy(nn.Module):
    """As in a variational autoencoder, and dropout that never rests."""

    def __init__(self, noise):
        super().__init__()
        self.inner, self.code = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 6, 1)
        self.outer, self.head, self._noise = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 2, 1), noise

    def forward(self, x):
        code = self._noise(self.code(self.inner(x).relu()))
        return self.head(self.outer(code).relu())


NOISES = {
    "like": lambda x: x + torch.randn_like(x),
    "shape": lambda x: x + torch.randn(x.shape).to(x),
    "dropout": lambda x: F.dropout(x, 0.5, training=True),
    "bernoulli": lambda x: x * torch.bernoulli(torch.full_like(x, 0.5)),
}


@pytest.mark.parametrize("noise", NOISES)
def test_only_what_has_noise_of_its_own_stays(noise):
    model = Noisy(NOISES[noise]).eval()
    found = reasons(model)
    assert [name for name, reason in found.items() if reason is None] == ["inner", "outer"]
    assert "draws random numbers" in found["code"]
    assert "random numbers" in advice(found["code"])
    assert ControlFlow(model, IMAGE).random == {""}


@pytest.mark.parametrize(("dropout", "random"), [(0.0, set()), (0.5, {""})])
def test_attention_is_random_only_where_it_drops(dropout, random):
    class Attention(nn.Module):
        def forward(self, x):
            return F.scaled_dot_product_attention(x, x, x, dropout_p=dropout)

    assert ControlFlow(Attention(), torch.randn(2, 2, 5, 4)).random == random


def test_random_networks_are_compared_by_the_same_draws_and_the_caller_keeps_its_own():
    model = Noisy(NOISES["like"]).eval()
    before = torch.get_rng_state()
    assert torch.equal(outputs(model, IMAGE)[0], outputs(model, IMAGE)[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(model(IMAGE), model(IMAGE))
