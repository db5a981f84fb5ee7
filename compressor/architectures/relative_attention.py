"""Attention with relative positions whose heads need not share the width of what comes in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SlimRelativeAttention(nn.Module):
    """What torchvision's ``RelativePositionalMultiHeadAttention`` (MaxViT) computes, of tokens (n, groups, tokens, c).

    It takes the place of ``like``, whose layers it holds under their names and whose heads keep the scale that they
    were trained with; how wide queries and keys, and values are, its layers say. `TypeError` when ``like`` is something
    else.
    """

    to_qkv: nn.Linear
    merge: nn.Linear
    relative_position_index: Tensor

    def __init__(self, like: Any, *, num_heads: int) -> None:
        super().__init__()
        if not attends_relatively(like) or not 0 < num_heads <= like.n_heads:
            raise TypeError(f"{type(like).__name__} is no attention with relative positions of {num_heads} heads")
        self.num_heads = num_heads
        self.scale = float(like.scale_factor)
        self.to_qkv, self.merge = like.to_qkv, like.merge
        kept = "relative_position_index" not in like._non_persistent_buffers_set
        self.register_buffer("relative_position_index", like.relative_position_index, persistent=kept)
        old = like.relative_position_bias_table
        other = nn.Parameter(old.new_empty(len(old), num_heads), old.requires_grad)
        self.relative_position_bias_table = old if old.shape == other.shape else other
        self.train(like.training)

    @classmethod
    def equal(cls, to: Any) -> SlimRelativeAttention:
        """With all heads of ``to``, whose tensors it shares."""
        return cls(to, num_heads=to.n_heads)

    def forward(self, x: Tensor) -> Tensor:
        """(n, groups, tokens, channels) -> (n, groups, tokens, output channels)."""
        values, tokens = self.merge.in_features, x.shape[2]
        queries = (self.to_qkv.out_features - values) // 2
        asked, read, seen = map(self._heads, torch.split(self.to_qkv(x), [queries, queries, values], -1))
        pairs = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = torch.unflatten(pairs, 0, (tokens, tokens)).permute(2, 0, 1)
        weights = (asked @ (read * self.scale).transpose(-2, -1) + bias).softmax(-1)
        return self.merge((weights @ seen).transpose(-3, -2).flatten(-2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        """(n, groups, tokens, width) -> (n, groups, heads, tokens, width / heads)."""
        return torch.unflatten(x, -1, (self.num_heads, -1)).transpose(-3, -2)


def attends_relatively(module: nn.Module) -> bool:
    """Whether a module has the parts of attention with relative positions, by the names that torchvision uses."""
    held, own = vars(module), dict(module.named_parameters(recurse=False))
    children, buffers = dict(module.named_children()), dict(module.named_buffers(recurse=False))
    if children.keys() != {"to_qkv", "merge"} or not all(type(child) is nn.Linear for child in children.values()):
        return False
    tables = own.keys() == {"relative_position_bias_table"} and buffers.keys() == {"relative_position_index"}
    numbers = isinstance(held.get("n_heads"), int) and isinstance(held.get("scale_factor"), int | float)
    return tables and numbers and own["relative_position_bias_table"].ndim == 2
