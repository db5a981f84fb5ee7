"""Attention as one operation: heads, keys and values that several heads share, and masks with heads of their own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from compressor.groups.channel_ids import compact, varying
from compressor.groups.rules.matmul import between, sides
from compressor.groups.trace import Call, Rule, Trace
from compressor.products import ATTENTIONS


def attention(trace: Trace, call: Call) -> None:
    """Scaled dot products of queries and keys weigh the values; heads may share keys and values."""
    query, key, value = call.args[:3]
    scores = query[..., :1, :1].expand(*query.shape[:-1], key.shape[-2])
    asked, ids, seen = trace.get(query), _shared(trace.get(key), query), _shared(trace.get(value), query)
    if call.kwargs.get("scale") is None and asked is not None and query.ndim - 1 in varying(asked):
        trace.ids.block(asked, f"{trace.place} scales products of queries and keys by how many channels they have")
    flipped = None if ids is None else ids.transpose(-1, -2)
    trace.multiplies(*sides(asked, flipped))
    weights = between(trace, asked, flipped, query, key.transpose(-1, -2))
    weights = _masked(trace, weights, call, (*query.shape[:-1], key.shape[-2]))
    trace.multiplies(*sides(weights, seen), second=True)
    mixed = between(trace, weights, seen, scores, value)
    trace.set(call.out[0] if isinstance(call.out, tuple) else call.out, mixed)


def _masked(trace: Trace, weights: Tensor | None, call: Call, shape: Sequence[int]) -> Tensor | None:
    """The ids of weights (..., tokens, tokens) to which a mask is added, which may have heads of its own."""
    asked = call.kwargs.get("attn_mask")
    mask = trace.get(asked if asked is not None else next(iter(call.args[3:4]), None))
    if mask is None:
        return weights
    if weights is not None:
        trace.union(weights.expand(shape), mask.expand(shape))
    return mask.expand(shape) if weights is None else weights


def _shared(ids: Tensor | None, query: Tensor) -> Tensor | None:
    """The ids of keys or values, each head of which stands for as many heads as ask it."""
    if ids is None or ids.ndim < 3 or ids.shape[-3] == query.shape[-3]:
        return ids
    return compact(ids.repeat_interleave(query.shape[-3] // ids.shape[-3], -3))


ATTENTION: dict[str, Rule] = dict.fromkeys(ATTENTIONS, attention)
