"""Channels that are zeroed for a while, and what becomes of the outputs without them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.groups.proposal import propose
from compressor.groups.trial import zeroed
from compressor.inputs import cast


class Block(nn.Module):
    """A residual branch."""

    def __init__(self, width):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, width, 3, padding=1), nn.Conv2d(width, 8, 3, padding=1)

    def forward(self, x):
        return x + self.two(self.one(x).relu_())


class FixedHalves(Block):
    """Cuts what its first layer makes at a width that is written into the code."""

    def forward(self, x):
        left, right = self.one(x).split([6, 6], 1)
        return x + self.two(torch.cat([right, left], 1))


class Scaled(Block):
    """Divides by how many channels there are."""

    def forward(self, x):
        h = self.one(x)
        return x + self.two(h / h.shape[1])


class Tied(nn.Module):
    """Two layers of one weight, in a block after the others."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)
        self.blocks = nn.Sequential(Block(6), FixedHalves(12), Block(4), Scaled(10), Block(6))
        self.blocks[4].one.weight = self.blocks[0].one.weight

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def tried():
    """The network, its groups, and the reason of each removed alone: of a complete pass, and of what it touches."""
    torch.manual_seed(0)
    model, x = Tied().double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        groups = [group for group in propose(model, x).groups if group.prunable]
        drawn = {group.name: torch.arange(group.channels // 2) for group in groups}
        with zeroed(model, groups, drawn, cast(x, torch.float64), ()) as trial:
            together = trial.failure(groups)
            reasons = {g.name: (trial.failure([g]), trial.failure([g], complete=False)) for g in groups}
            sound = [group for group in groups if reasons[group.name][0] is None]
            left = trial.failure(sound)
    return model, before, together, reasons, left


def test_a_pass_of_what_is_touched_says_what_a_complete_one_says(tried):
    reasons = tried[3]
    assert reasons
    assert all(complete == touched for complete, touched in reasons.values())


def test_those_that_fail_are_named_and_the_others_are_sound_together(tried):
    _, _, together, reasons, left = tried
    assert together is not None
    assert {name for name, (reason, _) in reasons.items() if reason is not None} == {"blocks.1.one", "blocks.3.one"}
    assert reasons["blocks.1.one"][0].startswith("removing channels breaks the network in blocks.1 (RuntimeError")
    assert "changes the output" in reasons["blocks.3.one"][0]
    assert left is None


def test_every_weight_is_as_before(tried):
    model, before = tried[:2]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
