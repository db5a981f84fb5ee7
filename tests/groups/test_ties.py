"""Groups that always lose equally many channels: the pieces of ``chunk`` stay equal."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.alignment import Alignment
from compressor.channels import ties
from compressor.errors import EquivalenceError, TargetNotMet
from compressor.forecast import Forecast
from compressor.groups import find_groups, is_zero, zero
from compressor.groups.draws import SHARES, drawn
from compressor.shrinking import remove_zero_channels
from compressor.splitting import Splitting

IMAGE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class CrossStage(nn.Module):
    """One half goes by, the other through a convolution."""

    def __init__(self, width=16, pieces=lambda x: x.chunk(2, 1)):
        super().__init__()
        self.stem, self.right = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width // 2, 6, 3, padding=1)
        self.head, self._pieces = nn.Conv2d(width // 2 + 6, 4, 1), pieces

    def forward(self, x):
        left, right = self._pieces(F.relu(self.stem(x)))
        return self.head(torch.cat([left, F.relu(self.right(right))], 1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return CrossStage()


@pytest.fixture
def groups(model):
    return [group for group in find_groups(model, IMAGE) if group.prunable]


PIECES = {
    "chunk": lambda x: x.chunk(2, 1),
    "slices from the shape": lambda x: (x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]),
    "slices from the end": lambda x: (x[:, : -(x.shape[1] // 2)], x[:, -(x.shape[1] // 2) :]),
    "sizes from the shape": lambda x: x.split([x.shape[1] // 2] * 2, 1),
    "two halves of a view": lambda x: x.unflatten(1, (2, -1)).unbind(1),
    "tensor_split": lambda x: x.tensor_split(2, 1),
}


@pytest.mark.parametrize("how", PIECES)
def test_the_pieces_of_a_cut_are_tied(how):
    found = {group.name: (group.channels, group.tie) for group in find_groups(CrossStage(8, PIECES[how]), IMAGE)}
    assert found == {"stem": (4, "stem"), "stem#2": (4, "stem"), "right": (6, None), "head": (4, None)}


def test_pieces_of_written_widths_stay():
    found = find_groups(CrossStage(8, lambda x: x.split(4, 1)), IMAGE)
    assert [group.name for group in found if group.prunable] == ["right"]


def test_a_cut_inside_one_of_two_neighbours_makes_pairs():
    """What lies on one piece together with others cannot follow the other piece alone."""

    class Neighbours(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 8, 1), nn.Conv2d(6, 5, 1)
            self.head = nn.Conv2d(11, 2, 1)

        def forward(self, x):
            left, right = F.relu(torch.cat([self.small(x), self.large(x)], 1)).chunk(2, 1)
            return self.head(torch.cat([left, F.relu(self.right(right))], 1))

    found = [group for group in find_groups(Neighbours(), IMAGE) if group.prunable]
    assert {group.name: (group.channels, group.tie) for group in found} == {
        "small": (4, None),
        "large": (2, None),
        "right": (5, None),
    }
    assert {(m.module, tuple(m.index.shape)) for m in found[0].members if m.role == "producer"} == {
        ("small", (4, 1)),
        ("large", (4, 1)),
    }


def test_unequal_zeros_are_removed_as_far_as_they_are_equal(model, groups):
    stem, other = groups[0], groups[1]
    zero(model, stem, torch.tensor([0, 2, 5]))
    zero(model, other, torch.tensor([1]))
    shrunk = remove_zero_channels(model, IMAGE, align=1)
    assert shrunk.channels == {"stem": (8, 7), "stem#2": (8, 7), "right": (6, 6)}
    assert shrunk.model.stem.out_channels == 14


def test_a_removal_that_breaks_the_network_is_one_error_with_the_group(model, groups):
    zero(model, groups[0], torch.tensor([0, 2, 5]))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    untied = [replace(group, tie=None) for group in groups]
    with pytest.raises(EquivalenceError, match=r"^removing channels of stem breaks the network in right \(Runtime"):
        remove_zero_channels(model, IMAGE, align=1, groups=untied)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_removal_that_changes_the_outputs_names_the_group(model, groups):
    wrong = [replace(group, members=group.members[1:]) if group.name == "right" else group for group in groups]
    zero(model, wrong[2], torch.tensor([0]))
    with pytest.raises(EquivalenceError, match=r"^removing channels of right "):
        remove_zero_channels(model, IMAGE, align=1, groups=wrong)


@pytest.mark.parametrize("target", [0.45, 0.6, 0.8])
@pytest.mark.parametrize("align", ["1", "auto"])
def test_the_budget_keeps_equally_many(model, target, align):
    splitting = Splitting(model, IMAGE, target_macs=target, total_steps=4, align=align, saliency="weights")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    splitting.attach(optimizer)
    for _ in range(4):
        optimizer.zero_grad()
        model(IMAGE).square().mean().backward()
        optimizer.step()
    projection = splitting.project()
    zeros = {group.name: int(is_zero(model, group).sum()) for group in splitting.groups}
    assert zeros["stem"] == zeros["stem#2"] > 0
    shrunk = remove_zero_channels(model, IMAGE, align=align)
    assert shrunk.channels == projection.channels
    assert projection.reached <= target


def test_what_is_predicted_keeps_to_ties(model):
    found = find_groups(model, IMAGE)
    predictions = Forecast(model, IMAGE, found, Alignment(1)).predictions()
    assert all(kept.channels["stem"] == kept.channels["stem#2"] for kept in predictions if kept.channels)


def test_what_the_figures_count_is_what_is_removed(model, groups):
    """A penalty may empty more channels of one piece than of the other."""
    splitting = Splitting(model, IMAGE, target_macs=0.9, total_steps=1, align="1")
    zero(model, groups[0], torch.tensor([0, 2, 5]))
    assert splitting.prunable.figures(splitting.prunable.left(model))[0]["stem"] == (8, 8)


def test_without_one_piece_the_others_stay():
    model = CrossStage()
    model.right.requires_grad_(False)
    found = {group.name: group.excluded for group in find_groups(model, IMAGE)}
    assert found["stem"] is None
    joined = find_groups(two_makers := TwoMakers(), IMAGE)
    assert [group.tie for group in joined if group.prunable] == ["one", "one"]
    two_makers.two.weight.requires_grad_(False)
    found = {group.name: group.excluded for group in find_groups(two_makers, IMAGE)}
    assert found["one"] == "it must lose as many channels as two, which stays"
    with pytest.raises(TargetNotMet, match="no channel of this network can be removed"):
        Splitting(TwoMakers(), IMAGE, target_macs=0.9, layers=["one", "left"], total_steps=1)


class TwoMakers(nn.Module):
    """Each piece has a layer of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.left, self.right = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        left, right = torch.cat([self.one(x), self.two(x)], 1).relu().chunk(2, 1)
        return self.left(left), self.right(right)


def test_shares_differ_but_in_a_tie(groups):
    generator = torch.Generator().manual_seed(0)
    draws = [drawn(groups, generator, beside=beside) for beside in (False, True) for _ in range(50)]
    assert all(len(places["stem"]) == len(places["stem#2"]) for places in draws)
    assert sum(len(places["stem"]) != len(places["right"]) for places in draws) > 50
    assert all(0 < len(places[group.name]) < group.channels for places in draws for group in groups)
    assert {len(places["stem"]) for places in draws} == set(range(1, 7))
    assert SHARES == (0.1, 0.7)


def test_every_group_is_in_one_tie(groups):
    assert ties(groups) == [[0, 1], [2]]
