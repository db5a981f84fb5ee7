"""MACs and parameters against numbers worked out by hand, and against really shrunk networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compressor.architectures.attention import SlimAttention
from compressor.costs import cost_model, count_macs, count_parameters
from compressor.groups import find_groups, zero
from compressor.shrinking import shrink

IMAGE = torch.zeros(2, 4, 8, 8)
SLIM = {"input_width": 8, "query_width": 4, "value_width": 6, "output_width": 8, "num_heads": 2}
WIDE_KERNEL = {"padding": 1, "bias": False}


class Recurrent(nn.Sequential):
    """A recurrent layer that reads the rows of all channels, one after the other."""

    def forward(self, x):
        return self[0](x.flatten(1, 2).transpose(0, 1))[0].transpose(0, 1)


class Attending(nn.Module):
    """Rows ask, the other rows of all channels answer."""

    def __init__(self, attention, asking=32):
        super().__init__()
        self.attention, self.asking = attention, asking

    def forward(self, x):
        x = x.flatten(1, 2)
        return self.attention(x[:, : self.asking], key=x, value=x)[0]


class ThreeWeights(nn.Module):
    """Keys of another width: 4 tokens ask 3 others."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, kdim=6)

    def forward(self, x):
        asking, read = x[:, 0].transpose(0, 1)[:4], x[:, 1].transpose(0, 1)[:3]
        return self.attention(asking, read[..., :6], read)[0].transpose(0, 1)


class Linearised(nn.Module):
    """Attention without softmax: keys meet values first, and tokens are summed over."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        seen = self.key(x).transpose(1, 2) @ self.value(x)
        return self.head(torch.einsum("bnk,bkv->bnv", self.query(x), seen))


# (module, MACs, parameters) on one 4 x 8 x 8 sample.
CONVOLUTIONS = {
    "plain": (nn.Conv2d(4, 6, 3, padding=1), 6 * 4 * 9 * 64, 6 * 4 * 9 + 6),
    "no bias": (nn.Conv2d(4, 6, 3, **WIDE_KERNEL), 6 * 4 * 9 * 64, 6 * 4 * 9),
    "no padding": (nn.Conv2d(4, 6, 3), 6 * 4 * 9 * 36, 6 * 4 * 9 + 6),
    "stride": (nn.Conv2d(4, 6, 3, stride=2, padding=1), 6 * 4 * 9 * 16, 6 * 4 * 9 + 6),
    "dilation": (nn.Conv2d(4, 6, 3, dilation=2), 6 * 4 * 9 * 16, 6 * 4 * 9 + 6),
    "oblong kernel": (nn.Conv2d(4, 6, (1, 5)), 6 * 4 * 5 * 8 * 4, 6 * 4 * 5 + 6),
    "two groups": (nn.Conv2d(4, 6, 3, groups=2, **WIDE_KERNEL), 6 * 2 * 9 * 64, 6 * 2 * 9),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, **WIDE_KERNEL), 4 * 9 * 64, 4 * 9),
    "depthwise with multiplier": (nn.Conv2d(4, 8, 3, groups=4, **WIDE_KERNEL), 8 * 9 * 64, 8 * 9),
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2), 6 * 4 * 4 * 64, 6 * 4 * 4 + 6),
    "transposed in groups": (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), 6 * 2 * 4 * 64, 6 * 2 * 4 + 6),
    "linear after flatten": (nn.Sequential(nn.Flatten(), nn.Linear(256, 5)), 256 * 5, 256 * 5 + 5),
    "linear on every row": (nn.Linear(8, 5), 8 * 5 * 4 * 8, 8 * 5 + 5),
    "recurrent": (Recurrent(nn.LSTM(8, 5, 2)), 32 * 20 * (8 + 5 + 5 + 5), 20 * (8 + 5 + 5 + 5) + 80),
    "recurrent in both directions": (Recurrent(nn.GRU(8, 5, bidirectional=True)), 32 * 30 * 13, 30 * 13 + 60),
    "attention": (
        Attending(nn.MultiheadAttention(8, 2, batch_first=True)),
        32 * 4 * 64 + 2 * 32 * 32 * 8,
        4 * 64 + 32,
    ),
    "attention to more": (
        Attending(nn.MultiheadAttention(8, 2, batch_first=True), 5),
        (5 + 32 + 32 + 5) * 64 + 2 * 5 * 32 * 8,
        4 * 64 + 32,
    ),
    "attention with three weights": (
        ThreeWeights(),
        (4 * 8 + 3 * 6 + 3 * 8 + 4 * 8) * 8 + 2 * 4 * 3 * 8,
        8 * (8 + 6 + 8 + 8) + 32,
    ),
    "slim attention": (
        Attending(SlimAttention(nn.MultiheadAttention(8, 2, batch_first=True), **SLIM), 5),
        (5 + 32) * 4 * 8 + 32 * 6 * 8 + 5 * 6 * 8 + 5 * 32 * (4 + 6),
        (4 + 4 + 6) * 9 + 6 * 8 + 8,
    ),
    "attention without softmax": (
        Linearised(),
        64 * (2 * 4 * 6 + 4 * 8 + 8 * 3) + 2 * 64 * 6 * 8,
        2 * (4 * 6 + 6) + (4 * 8 + 8) + (8 * 3 + 3),
    ),
    "norms cost no MACs": (nn.BatchNorm2d(4), 0, 8),
}


class Twice(nn.Module):
    """One convolution, used on the image and on its own output."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 1)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.head(F.relu(self.body(F.relu(self.body(self.stem(x))))))


class Branches(nn.Module):
    """A residual block, a concatenation, a depthwise convolution, and a linear head behind a flatten."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(12)
        self.back = nn.Conv2d(12, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, 2, padding=1, groups=8)
        self.side = nn.Conv2d(4, 6, 1, 2)
        self.up = nn.ConvTranspose2d(14, 5, 2, stride=2)
        self.hidden = nn.Linear(5 * 64, 9)
        self.head = nn.Linear(9, 3)

    def forward(self, x):
        stem = F.relu(self.stem(x))
        stem = stem + self.back(F.relu(self.norm(self.inner(stem))))
        joined = F.relu(torch.cat([self.depthwise(stem), self.side(x)], 1))
        return self.head(F.relu(self.hidden(F.relu(self.up(joined)).flatten(1))))


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_macs_are_those_worked_out_by_hand(case):
    module, macs, _ = CONVOLUTIONS[case]
    assert count_macs(nn.Sequential(nn.Identity(), module), IMAGE) == macs


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_the_cost_model_counts_every_parameter(case):
    module, _, parameters = CONVOLUTIONS[case]
    assert cost_model(module, IMAGE, (), "params").total() == parameters == count_parameters(module)


def test_macs_do_not_depend_on_the_batch():
    assert count_macs(CONVOLUTIONS["plain"][0], IMAGE) == count_macs(CONVOLUTIONS["plain"][0], IMAGE[:1])


def test_a_module_used_twice_works_twice_but_is_held_once():
    macs = cost_model(Twice(), IMAGE, (), "macs")
    assert dict(zip(macs.layers, macs.by_layer(), strict=True))["body"] == 2 * 8 * 8 * 9 * 64
    assert count_parameters(Twice()) == 4 * 8 + 8 + 8 * 8 * 9 + 8 + 8 * 2 + 2


def test_a_layer_that_is_never_called_costs_nothing():
    model = Twice()
    model.spare = nn.Conv2d(4, 4, 3)
    assert count_macs(model, IMAGE) == count_macs(Twice(), IMAGE)


def test_tied_weights_are_counted_once():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    assert cost_model(model, IMAGE, (), "params").total() == 64


def test_a_tied_weight_loses_its_channels_wherever_it_is_used():
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1))
    model[2].weight = model[1].weight
    groups = [group for group in find_groups(model, IMAGE) if group.prunable]
    kept = [group.channels - 2 for group in groups]
    assert cost_model(model, IMAGE, groups, "macs").total(kept) == 64 * (4 * 6 + 2 * 6 * 6 + 6 * 2)


class Tokens(nn.Module):
    """An encoder layer, and attention without a norm before and behind it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 12)
        self.layer = nn.TransformerEncoderLayer(12, 3, 10, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = self.stem(x.flatten(2).transpose(1, 2))
        x = self.out(x + self.attention(x, x, x)[0])
        return self.head(self.layer(x).mean(1))


@pytest.mark.parametrize("build", [Twice, Branches, Tokens])
@pytest.mark.parametrize("seed", range(3))
def test_total_is_the_count_of_the_really_shrunk_network(build, seed):
    generator = torch.Generator().manual_seed(seed)
    model = build().eval()
    groups = [group for group in find_groups(model, IMAGE) if group.prunable]
    kept = [int(torch.randint(1, group.channels + 1, (), generator=generator)) for group in groups]
    expected = {kind: cost_model(model, IMAGE, groups, kind).total(kept) for kind in ("macs", "params")}
    for group, count in zip(groups, kept, strict=True):
        zero(model, group, torch.randperm(group.channels, generator=generator)[count:])
    small = shrink(model, IMAGE, align="1")
    assert expected == {"macs": count_macs(small, IMAGE), "params": count_parameters(small)}


def test_the_branches_have_groups_of_every_pattern():
    assert sum(group.prunable for group in find_groups(Branches(), IMAGE)) == 5


@pytest.mark.parametrize("kind", ["macs", "params"])
def test_saved_per_channel_is_what_one_channel_less_saves(kind):
    groups = [group for group in find_groups(Branches(), IMAGE) if group.prunable]
    cost = cost_model(Branches(), IMAGE, groups, kind)
    full = [group.channels for group in groups]
    less = [[count - (place == g) for place, count in enumerate(full)] for g in range(len(full))]
    assert cost.saved_per_channel().tolist() == [cost.total() - cost.total(kept) for kept in less]


def test_one_hidden_unit_saves_its_row_its_column_and_its_bias():
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 6), nn.ReLU(), nn.Linear(6, 3))
    groups = [group for group in find_groups(model, IMAGE) if group.prunable]
    assert cost_model(model, IMAGE, groups, "params").saved_per_channel().tolist() == [256 + 1 + 3]
    assert cost_model(model, IMAGE, groups, "macs").saved_per_channel().tolist() == [256 + 3]


def test_counting_leaves_modes_statistics_and_hooks_alone():
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8), nn.Dropout()).train()
    model[1].eval()
    count_macs(model, torch.randn(2, 4, 8, 8))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert model[1].num_batches_tracked == 0
    assert not any(module._forward_hooks for module in model.modules())
