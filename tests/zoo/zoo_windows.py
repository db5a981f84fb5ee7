"""Attention as torchvision's Swin and MaxViT write it: by code that reads its widths off what comes in."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F
from zoo_parts import Pattern, tail


def partitioned(x, window):
    batch, height, width, channels = x.shape
    x = x.view(batch, height // window[0], window[0], width // window[1], window[1], channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, window[0] * window[1], channels)


def shifted_attention(module, x, bias, qkv_bias):
    """Pad, shift, cut into windows, attend, and back; scores of tokens that the shift brought together get -100."""
    (batch, height, width, channels), window, heads = x.shape, module.window_size, module.num_heads
    x = F.pad(x, (0, 0, 0, -width % window[1], 0, -height % window[0]))
    high, wide = x.shape[1:3]
    shift = [0 if size <= side else by for size, side, by in zip((high, wide), window, module.shift_size, strict=True)]
    if sum(shift):
        x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
    x = partitioned(x, window)
    qkv = F.linear(x, module.qkv.weight, qkv_bias)
    q, k, v = qkv.reshape(x.size(0), x.size(1), 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
    if hasattr(module, "logit_scale"):
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        scores = scores * module.logit_scale.clamp(max=math.log(100.0)).exp()
    else:
        scores = (q * (channels // heads) ** -0.5) @ k.transpose(-2, -1)
    scores = scores + bias
    if sum(shift):
        part = x.new_zeros((high, wide))
        ends = [((0, -side), (-side, -by), (-by, None)) for side, by in zip(window, shift, strict=True)]
        for number, (top, left) in enumerate((top, left) for top in ends[0] for left in ends[1]):
            part[top[0] : top[1], left[0] : left[1]] = number
        part = partitioned(part[None, :, :, None], window).squeeze(2)
        apart = (part.unsqueeze(1) - part.unsqueeze(2)) != 0
        scores = scores.view(-1, len(part), heads, x.size(1), x.size(1)) - 100.0 * apart[:, None].to(x)
        scores = scores.view(-1, heads, x.size(1), x.size(1))
    weights = F.dropout(scores.softmax(-1), module.attention_dropout, module.training)
    x = (weights @ v).transpose(1, 2).reshape(x.size(0), x.size(1), channels)
    x = F.dropout(F.linear(x, module.proj.weight, module.proj.bias), module.dropout, module.training)
    x = x.view(batch, high // window[0], wide // window[1], window[0], window[1], channels)
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(batch, high, wide, channels)
    if sum(shift):
        x = torch.roll(x, shift, (1, 2))
    return x[:, :height, :width, :].contiguous()


class Windows(nn.Module):
    """Swin v1: a table with one column for each head."""

    def __init__(self, width, heads, window=(2, 3), shift=(1, 1), *, bias=True):
        super().__init__()
        self.window_size, self.shift_size, self.num_heads = list(window), list(shift), heads
        self.attention_dropout = self.dropout = 0.0
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width, bias=bias)
        self.define_table()
        places = torch.stack(torch.meshgrid(*map(torch.arange, window), indexing="ij")).flatten(1)
        apart = (places[:, :, None] - places[:, None]).permute(1, 2, 0) + torch.tensor(window) - 1
        self.register_buffer("relative_position_index", (apart[..., 0] * (2 * window[1] - 1) + apart[..., 1]).flatten())

    def define_table(self):
        count = math.prod(2 * side - 1 for side in self.window_size)
        self.relative_position_bias_table = nn.Parameter(torch.randn(count, self.num_heads))

    def bias(self, table):
        tokens = math.prod(self.window_size)
        return table[self.relative_position_index].view(tokens, tokens, -1).permute(2, 0, 1).contiguous().unsqueeze(0)

    def forward(self, x):
        return shifted_attention(self, x, self.bias(self.relative_position_bias_table), self.qkv.bias)


class CosineWindows(Windows):
    """Swin v2: cosines times a scale of each head, a bias from a network, and no bias of the keys."""

    def define_table(self):
        sides = [torch.arange(1.0 - side, side) / max(side - 1, 1) * 8 for side in self.window_size]
        table = torch.stack(torch.meshgrid(sides, indexing="ij")).permute(1, 2, 0)[None]
        self.register_buffer("relative_coords_table", table.sign() * (table.abs() + 1).log2() / 3)
        self.logit_scale = nn.Parameter(torch.linspace(2, 6, self.num_heads)[:, None, None].clone())
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, self.num_heads, bias=False))

    def forward(self, x):
        bias, qkv_bias = self.qkv.bias, None
        if bias is not None:
            qkv_bias = bias.clone()
            qkv_bias[len(bias) // 3 : 2 * len(bias) // 3].zero_()
        table = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        return shifted_attention(self, x, 16 * torch.sigmoid(self.bias(table)), qkv_bias)


class RelativeHeads(nn.Module):
    """MaxViT: groups of tokens, a scale of the whole width, on the side of the keys."""

    def __init__(self, width, wide, tokens=4):
        super().__init__()
        self.n_heads, self.head_dim, self.max_seq_len, self.size = width // wide, wide, tokens, math.isqrt(tokens)
        self.to_qkv, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.scale_factor = width**-0.5
        table = torch.randn((2 * self.size - 1) ** 2, self.n_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        places = torch.cartesian_prod(torch.arange(self.size), torch.arange(self.size))
        apart = places[:, None] - places[None] + self.size - 1
        self.register_buffer("relative_position_index", apart[..., 0] * (2 * self.size - 1) + apart[..., 1])

    def forward(self, x):
        batch, groups, tokens, width = x.shape
        q, k, v = torch.chunk(self.to_qkv(x), 3, -1)
        q, k, v = (
            y.reshape(batch, groups, tokens, self.n_heads, self.head_dim).permute(0, 1, 3, 2, 4) for y in (q, k, v)
        )
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(self.max_seq_len, self.max_seq_len, -1).permute(2, 0, 1).contiguous().unsqueeze(0)
        weights = F.softmax(torch.einsum("bghid,bghjd->bghij", q, k * self.scale_factor) + bias, -1)
        mixed = torch.einsum("bghij,bghjd->bghid", weights, v)
        return self.merge(mixed.permute(0, 1, 3, 2, 4).reshape(batch, groups, tokens, width))


class MaxVit(nn.Module):
    """Attention within windows of four, then across them."""

    def __init__(self):
        super().__init__()
        self.stem, self.tail = nn.Conv2d(3, 8, 1), tail(8)
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])
        self.attention = nn.ModuleList([RelativeHeads(8, 4), RelativeHeads(8, 4, tokens=16)])

    def forward(self, x):
        x = partitioned(self.stem(x).permute(0, 2, 3, 1), (2, 2)).reshape(x.shape[0], 16, 4, -1)
        x = x + self.attention[0](self.norms[0](x))
        x = torch.swapaxes(x, 1, 2)
        x = x + self.attention[1](self.norms[1](x))
        return self.tail(x.permute(0, 3, 1, 2))


class Swin(nn.Module):
    """Two blocks, of which the second shifts its windows; v2 normalises behind each branch."""

    def __init__(self, kind, *, behind):
        super().__init__()
        self.stem, self.behind, self.tail = nn.Conv2d(3, 8, 1), behind, tail(8)
        self.attention = nn.ModuleList([kind(8, 2, shift=(0, 0)), kind(8, 2)])
        self.norms = nn.ModuleList([nn.LayerNorm(8), nn.LayerNorm(8)])

    def forward(self, x):
        x = self.stem(x).permute(0, 2, 3, 1)
        for attention, norm in zip(self.attention, self.norms, strict=True):
            x = x + (norm(attention(x)) if self.behind else attention(norm(x)))
        return self.tail(x.permute(0, 3, 1, 2))


def shifted_windows():
    return Swin(Windows, behind=False)


def shifted_windows_of_cosines():
    return Swin(CosineWindows, behind=True)


def relative_positions():
    return MaxVit()


def widths(layer):
    return {"stem": 8} | {f"attention.{block}.{layer}{which}": 4 for block in (0, 1) for which in ("", "#2")}


TABLES = {"attention.0": "fixed width", "attention.1": "fixed width"}
PATTERNS = (
    Pattern(shifted_windows, widths("qkv"), TABLES),
    Pattern(
        shifted_windows_of_cosines,
        widths("qkv") | {f"attention.{block}.cpb_mlp.0": 10 for block in (0, 1)},
        {f"{name}.cpb_mlp.2": why for name, why in TABLES.items()},
    ),
    Pattern(relative_positions, widths("to_qkv"), TABLES),
)  # fmt: skip
