"""Widths inside of torch's attention: what is a channel there, and which attention is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from compressor.equivalence import relative_difference
from compressor.groups import find_groups, zero
from compressor.shrinking import remove_zero_channels
from compressor.surgery import remove

TOKENS = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """Linear, attention, linear."""

    def __init__(self, **options):
        super().__init__()
        self.first, self.head = nn.Linear(3, 12), nn.Linear(12, 4)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **options)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.attention(x, x, x)[0])


class Padded(nn.Module):
    """An encoder that is told which tokens are padding, and makes nested tensors of the others."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(3, 8), nn.Linear(8, 4)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    def forward(self, x, padding=None):
        return self.head(self.encoder(self.first(x), src_key_padding_mask=padding))


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval()


def groups_of(model, inputs=TOKENS):
    return {group.name: group for group in find_groups(model, inputs)}


def test_a_channel_of_queries_is_one_place_in_every_head_and_of_the_keys():
    (member,) = groups_of(seeded(Reader))["attention"].members
    assert (member.role, dict(member.tensors)) == ("producer", {"in_proj_weight": 0, "in_proj_bias": 0})
    assert member.index[1].tolist() == [1, 5, 9, 13, 17, 21]


def test_a_channel_of_values_is_read_by_the_last_layer():
    made, read = groups_of(seeded(Reader))["attention#2"].members
    assert made.index[1].tolist() == [25, 29, 33]
    assert (read.module, read.role, read.index[1].tolist()) == ("attention.out_proj", "consumer", [1, 5, 9])


def test_removal_leaves_the_scale_and_the_network_it_is_given_alone():
    model = seeded(Reader)
    groups = groups_of(model)
    small = remove(model, list(groups.values()), {"attention": [0, 2], "attention#2": [3]}, TOKENS)
    assert type(model.attention) is nn.MultiheadAttention
    assert (small.attention.query_width, small.attention.value_width, small.attention.scale) == (6, 9, 0.5)
    assert groups_of(small)["attention"].channels == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kdim": 12, "vdim": 12, "add_bias_kv": True}, "with a key of its own"),
        ({"add_zero_attn": True}, "with a key of its own"),
    ],
)
def test_attention_of_a_rare_kind_is_left_alone(options, reason):
    groups = groups_of(seeded(lambda: Reader(**options)))
    assert reason in groups["attention"].excluded
    assert reason in groups["first"].excluded


def test_attention_with_two_names_is_left_alone():
    model = seeded(Reader)
    model.again = model.attention
    assert "has several names" in groups_of(model)["attention"].excluded


def test_attention_that_is_the_whole_network_is_left_alone():
    x = TOKENS.repeat(1, 1, 4)
    assert all(group.excluded for group in find_groups(nn.MultiheadAttention(12, 3), (x, x, x)))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("known", [True, False])
def test_padding_is_followed_whether_or_not_it_is_in_the_example(known):
    model, padding = seeded(Padded), torch.arange(5) >= torch.tensor([[5], [3]])
    groups = groups_of(model, (TOKENS, padding) if known else TOKENS).values()
    for group in groups:
        if group.prunable:
            zero(model, group, torch.tensor([0]))
    small = remove_zero_channels(model, (TOKENS, padding) if known else TOKENS, groups=list(groups), align=1).model
    assert small.encoder.layers[0].self_attn.value_width == 6
    with torch.no_grad():
        assert relative_difference(model(TOKENS, padding), small(TOKENS, padding)) <= 1e-5
