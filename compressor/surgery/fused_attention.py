"""Which attention of others, with one layer for queries, keys and values, ours can stand for.

It is known by the names of its parts, and shown to give the same.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from compressor.architectures.relative_attention import SlimRelativeAttention, attends_relatively
from compressor.architectures.window_attention import SlimWindowAttention, shifts_windows
from compressor.equivalence import FLOAT64_LIMIT, relative_difference

Slim = SlimRelativeAttention | SlimWindowAttention


@torch.no_grad()
def slim_attention(attention: nn.Module) -> Slim | None:
    """Ours with all heads of ``attention``, whose tensors it shares, where that computes the same; None elsewhere."""
    kind = _kind(attention)
    if kind is None:
        return None
    twin = _randomized(attention)
    try:
        ours = kind.equal(twin)
        same = all(relative_difference(twin(x), ours(x)) <= FLOAT64_LIMIT for x in _inputs(ours))
    except Exception:  # whatever its code raises that only looks like the one that we know
        return None
    return kind.equal(attention) if same else None


def _kind(attention: nn.Module) -> type[Slim] | None:
    if shifts_windows(attention):
        return SlimWindowAttention
    return SlimRelativeAttention if attends_relatively(attention) else None


def _inputs(ours: Slim) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    if isinstance(ours, SlimRelativeAttention):
        shapes = [(2, 1, math.isqrt(len(ours.relative_position_index.flatten())), ours.to_qkv.in_features)]
    else:
        # Several windows, the last ones padded; and a single one, which is not shifted.
        (high, wide), width = ours.window_size, ours.qkv.in_features
        shapes = [(1, 2 * high - 1, wide + 1, width), (1, high, wide, width)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _randomized(attention: nn.Module) -> nn.Module:
    """A copy in float64 whose scores are of moderate size, so that everything that is added to them counts."""
    twin = copy.deepcopy(attention).cpu().double().eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in twin.parameters():
        drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
        # Some of the scales of Swin v2 lie above their bound.
        spread = 6 * drawn if parameter.ndim == 3 else (2 * drawn - 1) * parameter.shape[-1] ** -0.5
        parameter.copy_(spread)
    return twin
