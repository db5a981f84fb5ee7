"""How many places a channel has in its layers decides by how many channels they go."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.channels import ChannelGroup, Member, shared_places
from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels


class Heads(nn.Module):
    """Attention of which only whole heads go: the scale follows their width."""

    def __init__(self, heads=6, wide=8):
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, wide, heads * wide
        self.first, self.qkv = nn.Linear(3, 16), nn.Linear(16, 3 * heads * wide)
        self.proj = nn.Linear(heads * wide, 4)

    def forward(self, x):
        batch, tokens, _ = x.shape
        qkv = self.qkv(self.first(x).relu()).reshape(batch, tokens, 3, self.num_heads, self.head_dim)
        mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4).unbind(0))
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, self.attn_dim))


def group(**places):
    """A group of two channels that has so many places in each member: a role and perhaps a number."""
    members = [
        Member(name, name.rstrip("0123456789"), torch.zeros(2, count, dtype=torch.long), (("weight", 0),))
        for name, count in places.items()
    ]
    return ChannelGroup("group", 2, tuple(members))


@pytest.mark.parametrize(
    ("members", "places"),
    [
        ({"producer": 1, "norm": 1, "consumer": 1}, 1),
        ({"producer": 1, "consumer": 49}, 1),  # a flattened image
        ({"producer": 2, "consumer": 1}, 1),  # halves of which one gates the other
        ({"producer": 192, "count": 64, "consumer": 64}, 64),  # a head
        ({"producer1": 64, "producer2": 1, "norm": 1, "consumer": 64}, 64),  # with a table of one column each
        ({"producer": 24}, 12),  # queries and keys of one layer
        ({"producer1": 12, "producer2": 12}, 12),
    ],
)
def test_the_places_of_a_channel_are_those_of_the_layers_that_make_and_read_it(members, places):
    assert group(**members).places == places


def test_tied_groups_share_what_fills_steps_of_both():
    assert shared_places([group(producer=12, consumer=12), group(producer=8, consumer=8)]) == 4


def test_heads_go_one_by_one():
    torch.manual_seed(0)
    x, model = torch.randn(2, 5, 3), Heads().eval()
    groups = {group.name: group for group in find_groups(model, x) if group.prunable}
    assert (groups["qkv"].channels, groups["qkv"].places) == (6, 8)
    zero(model, groups["qkv"], torch.tensor([0, 2, 5]))
    zero(model, groups["first"], torch.arange(5))
    small = remove_zero_channels(model, x, groups=[*groups.values()])
    # Five of sixteen zeros do not end a step of four; three heads of eight places each end one of eight.
    assert small.channels == {"first": (16, 12), "qkv": (6, 3)}
