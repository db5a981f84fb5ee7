"""Multihead attention with its own widths for queries and keys, and for values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SlimAttention(nn.Module):
    """What ``nn.MultiheadAttention`` computes, without its demand that all widths be one.

    It takes the place of ``like``, whose heads keep the scale that they were trained with; tensors of the same shape
    are shared. The widths of queries and values are those of all heads together. The rows of ``in_proj_weight`` are
    queries, keys and values.
    """

    # ``nn.TransformerEncoderLayer`` asks, and takes its fast path only where all widths are one.
    _qkv_same_embed_dim = False

    def __init__(
        self,
        like: nn.MultiheadAttention,
        *,
        input_width: int,
        query_width: int,
        value_width: int,
        output_width: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        if query_width % num_heads or value_width % num_heads:
            raise TypeError(f"{num_heads} heads cannot share {query_width} queries and {value_width} values")
        self.num_heads = num_heads
        self.scale = like.head_dim**-0.5
        self.dropout = like.dropout
        self.batch_first = like.batch_first
        rows, bias = 2 * query_width + value_width, like.out_proj.bias
        self.in_proj_weight = _resized(like.in_proj_weight, rows, input_width)
        self.in_proj_bias = None if like.in_proj_bias is None else _resized(like.in_proj_bias, rows)
        self.out_proj = nn.Linear(value_width, output_width, device="meta")
        self.out_proj.weight = _resized(like.out_proj.weight, output_width, value_width)
        self.out_proj.bias = None if bias is None else _resized(bias, output_width)
        self.train(like.training)

    @classmethod
    def equal(cls, to: nn.MultiheadAttention) -> SlimAttention:
        """With the widths of ``to``, whose tensors it shares."""
        width = to.embed_dim
        return cls(
            to,
            input_width=width,
            query_width=width,
            value_width=width,
            output_width=width,
            num_heads=to.num_heads,
        )

    @property
    def input_width(self) -> int:
        """Width of the tokens that it reads."""
        return self.in_proj_weight.shape[1]

    @property
    def query_width(self) -> int:
        """Width of the queries, and of the keys, of all heads together."""
        return (len(self.in_proj_weight) - self.value_width) // 2

    @property
    def value_width(self) -> int:
        """Width of the values of all heads together."""
        return self.out_proj.in_features

    @property
    def output_width(self) -> int:
        """Width of the tokens that it makes."""
        return self.out_proj.out_features

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As ``nn.MultiheadAttention``; ``is_causal`` is a hint that ``attn_mask`` says already."""
        if is_causal and attn_mask is None:
            raise ValueError("is_causal needs attn_mask, which says the same")
        if query.is_nested:
            # Of padded tokens ``nn.TransformerEncoder`` makes sequences of several lengths.
            return torch.nested.as_nested_tensor([self(x, x, x, need_weights=False)[0] for x in query.unbind()]), None
        itself = query is key and key is value
        first, single = self.batch_first or query.dim() == 2, query.dim() == 2
        tokens = [x[None] if single else x if first else x.transpose(0, 1) for x in (query, key, value)]
        asked, read, seen = (self._heads(x) for x in self._projected(tokens, itself=itself))
        masks = [] if attn_mask is None else [_added(attn_mask, query)]
        if masks and masks[0].dim() == 3:
            masks = [torch.unflatten(masks[0], 0, (-1, self.num_heads))]
        if key_padding_mask is not None:
            masks.append(_added(key_padding_mask.reshape(-1, 1, 1, key_padding_mask.shape[-1]), query))
        mask = sum(masks[1:], masks[0]) if masks else None
        dropout, weights = self.dropout if self.training else 0.0, None
        if need_weights:
            scores = (asked * self.scale) @ read.transpose(-2, -1)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            mixed = weights @ seen
            weights = weights.mean(1) if average_attn_weights else weights
            weights = weights[0] if single else weights
        else:
            mixed = F.scaled_dot_product_attention(asked, read, seen, mask, dropout, scale=self.scale)
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out[0] if single else out if first else out.transpose(0, 1), weights

    def _projected(self, tokens: Sequence[Tensor], *, itself: bool) -> Sequence[Tensor]:
        """Queries, keys and values, (batch, tokens, width); by one product where all are of the same tokens."""
        widths = [self.query_width, self.query_width, self.value_width]
        if itself:
            return torch.split(F.linear(tokens[0], self.in_proj_weight, self.in_proj_bias), widths, -1)
        weights = torch.split(self.in_proj_weight, widths)
        biases = [None] * 3 if self.in_proj_bias is None else torch.split(self.in_proj_bias, widths)
        return [F.linear(*operands) for operands in zip(tokens, weights, biases, strict=True)]

    def _heads(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) -> (batch, heads, tokens, width / heads)."""
        return torch.unflatten(x, -1, (self.num_heads, -1)).transpose(1, 2)


def _added(mask: Tensor, like: Tensor) -> Tensor:
    """A mask of what is not to be seen, or what is to be added to the scores, as the latter."""
    if mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)


def _resized(old: Tensor, *shape: int) -> nn.Parameter:
    """The same parameter where it has that shape, else an uninitialised one."""
    if isinstance(old, nn.Parameter) and old.shape == shape:
        return old
    return nn.Parameter(old.new_empty(shape), old.requires_grad)
