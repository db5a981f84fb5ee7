"""Which attention in shifted windows ours can stand for: it has the parts by which we know it, and gives the same."""

from __future__ import annotations

import copy

import torch
from torch import nn

from compressor.architectures.window_attention import SlimWindowAttention, shifts_windows
from compressor.equivalence import FLOAT64_LIMIT, relative_difference


@torch.no_grad()
def slim_windows(attention: nn.Module) -> SlimWindowAttention | None:
    """Ours with all heads of ``attention``, whose tensors it shares, where that computes the same; None elsewhere."""
    if not shifts_windows(attention):
        return None
    twin = _randomized(attention)
    ours = SlimWindowAttention.equal(twin)
    high, wide = ours.window_size
    generator = torch.Generator().manual_seed(0)
    # Several windows, the last ones padded; and a single one, which is not shifted.
    for height, width in ((2 * high - 1, wide + 1), (high, wide)):
        x = torch.randn(1, height, width, ours.qkv.in_features, generator=generator, dtype=torch.float64)
        try:
            same = relative_difference(twin(x), ours(x)) <= FLOAT64_LIMIT
        except Exception:  # whatever its code raises that only looks like the one that we know
            same = False
        if not same:
            return None
    return SlimWindowAttention.equal(attention)


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
