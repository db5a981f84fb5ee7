"""Attention in shifted windows whose heads need not share the width of what comes in."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The most by which Swin v2 multiplies the cosines of queries and keys.
LARGEST_SCALE = math.log(100.0)
# How much is added to the scores of tokens that the cyclic shift alone has made neighbours.
HIDDEN = -100.0


class SlimWindowAttention(nn.Module):
    """What torchvision's ``ShiftedWindowAttention`` (Swin v1 and v2) computes, of images (n, h, w, channels).

    It takes the place of ``like``, whose layers it holds under their names and whose heads keep the scale that they
    were trained with; how wide queries and keys, and values are, its layers say. `TypeError` when ``like`` is something
    else.
    """

    qkv: nn.Linear
    proj: nn.Linear
    cpb_mlp: nn.Module | None
    relative_position_index: Tensor
    relative_coords_table: Tensor
    relative_position_bias_table: Tensor
    logit_scale: Tensor

    def __init__(self, like: Any, *, num_heads: int) -> None:
        super().__init__()
        if not shifts_windows(like) or not 0 < num_heads <= like.num_heads <= like.qkv.in_features:
            raise TypeError(f"{type(like).__name__} is no attention in shifted windows of {num_heads} heads")
        self.num_heads = num_heads
        self.window_size, self.shift_size = [*like.window_size], [*like.shift_size]
        self.attention_dropout, self.dropout = like.attention_dropout, like.dropout
        self.scale = (like.qkv.in_features // like.num_heads) ** -0.5
        self.qkv, self.proj, self.cpb_mlp = like.qkv, like.proj, getattr(like, "cpb_mlp", None)
        for name, table in like.named_buffers(recurse=False):
            self.register_buffer(name, table, persistent=name not in like._non_persistent_buffers_set)
        for name, parameter in like.named_parameters(recurse=False):
            # A table (places, heads), or the scales (heads, 1, 1) of Swin v2.
            shape = (*parameter.shape[:-1], num_heads) if parameter.ndim == 2 else (num_heads, 1, 1)
            other = nn.Parameter(parameter.new_empty(shape), parameter.requires_grad)
            self.register_parameter(name, parameter if parameter.shape == shape else other)
        self.train(like.training)

    @classmethod
    def equal(cls, to: Any) -> SlimWindowAttention:
        """With all heads of ``to``, whose tensors it shares."""
        return cls(to, num_heads=to.num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """(n, h, w, channels) -> (n, h, w, output channels)."""
        height, width = x.shape[1:3]
        (high, wide), window = self.window_size, self.window_size
        x = F.pad(x, (0, 0, 0, -width % wide, 0, -height % high))
        sizes = x.shape[1:3]
        # One window that holds everything is not shifted.
        shift = [0 if one >= size else by for one, size, by in zip(window, sizes, self.shift_size, strict=True)]
        if any(shift):
            x = x.roll([-by for by in shift], (1, 2))
        x = self.proj(self._attended(_windows(x, window), self._added(sizes, shift, x)))
        x = _image(F.dropout(x, self.dropout, self.training), window, sizes)
        if any(shift):
            x = x.roll(shift, (1, 2))
        return x[:, :height, :width]

    def _attended(self, x: Tensor, added: Tensor) -> Tensor:
        """(windows, tokens, channels) -> (windows, tokens, values of all heads)."""
        values = self.proj.in_features
        queries = (self.qkv.out_features - values) // 2
        asked, read, seen = torch.split(self.qkv(x), [queries, queries, values], -1)
        if self.cpb_mlp is None:
            scores = (self._heads(asked) * self.scale) @ self._heads(read).transpose(-2, -1)
        else:
            if self.qkv.bias is not None:
                # Those of Swin v2 have no bias.
                read = read - torch.split(self.qkv.bias, [queries, queries, values])[1]
            asked, read = (F.normalize(self._heads(x), dim=-1) for x in (asked, read))
            scores = asked @ read.transpose(-2, -1) * self.logit_scale.clamp(max=LARGEST_SCALE).exp()
        scores = (torch.unflatten(scores, 0, (-1, len(added))) + added).flatten(0, 1)
        weights = F.dropout(scores.softmax(-1), self.attention_dropout, self.training)
        return (weights @ self._heads(seen)).transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        """(windows, tokens, width) -> (windows, heads, tokens, width / heads)."""
        return torch.unflatten(x, -1, (self.num_heads, -1)).transpose(1, 2)

    def _added(self, sizes: torch.Size, shift: list[int], like: Tensor) -> Tensor:
        """What is added to the scores: (1 or windows of an image, heads, tokens, tokens)."""
        tokens = math.prod(self.window_size)
        if self.cpb_mlp is None:
            table = self.relative_position_bias_table
        else:
            table = self.cpb_mlp(self.relative_coords_table.flatten(0, 2))
        pairs = torch.unflatten(table[self.relative_position_index.flatten()], 0, (tokens, tokens))
        bias = pairs.permute(2, 0, 1)[None]
        if self.cpb_mlp is not None:
            bias = 16 * bias.sigmoid()
        if not any(shift):
            return bias
        rows, columns = (
            (torch.arange(size, device=like.device) >= size - window).long()
            + (torch.arange(size, device=like.device) >= size - by)
            for size, window, by in zip(sizes, self.window_size, shift, strict=True)
        )
        regions = _windows((3 * rows[:, None] + columns)[None, :, :, None], self.window_size)
        apart = (regions != regions.transpose(1, 2)).to(like.dtype)
        return bias + HIDDEN * apart[:, None]


def shifts_windows(module: nn.Module) -> bool:
    """Whether a module, not ours, has the parts of attention in shifted windows, by the names that torchvision uses."""
    held, own = vars(module), dict(module.named_parameters(recurse=False))
    children, buffers = dict(module.named_children()), dict(module.named_buffers(recurse=False))
    first = {"qkv", "proj"} == children.keys() and {"relative_position_bias_table"} == own.keys()
    second = {"qkv", "proj", "cpb_mlp"} == children.keys() and {"logit_scale"} == own.keys()
    if isinstance(module, SlimWindowAttention) or not (first or (second and "relative_coords_table" in buffers)):
        return False
    if "relative_position_index" not in buffers or not all(type(children[n]) is nn.Linear for n in ("qkv", "proj")):
        return False
    pairs = _is_pair(held.get("window_size"), 1) and _is_pair(held.get("shift_size"), 0)
    shares = all(isinstance(held.get(name), int | float) for name in ("attention_dropout", "dropout"))
    return pairs and shares and isinstance(held.get("num_heads"), int)


def _is_pair(value: object, least: int) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return False
    return all(isinstance(part, int) and part >= least for part in value)


def _windows(x: Tensor, window: list[int]) -> Tensor:
    """(n, h, w, channels) -> (n * windows, tokens, channels)."""
    parts = torch.unflatten(torch.unflatten(x, 2, (-1, window[1])), 1, (-1, window[0]))
    return parts.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def _image(x: Tensor, window: list[int], sizes: torch.Size) -> Tensor:
    """(n * windows, tokens, channels) -> (n, h, w, channels)."""
    down, across = (size // by for size, by in zip(sizes, window, strict=True))
    parts = torch.unflatten(torch.unflatten(x, 1, (window[0], window[1])), 0, (-1, down, across))
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
