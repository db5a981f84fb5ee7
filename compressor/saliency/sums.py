"""Sums over the places of a channel."""

from __future__ import annotations

from torch import Tensor


def per_place(tensor: Tensor, axis: int) -> Tensor:
    """The sums of ``tensor`` over all axes but one: (places,)."""
    rest = [dim for dim in range(tensor.ndim) if dim != axis]
    # Without dimensions ``sum`` would sum over all of them.
    return tensor.sum(rest) if rest else tensor


def per_channel(tensor: Tensor, axis: int, index: Tensor) -> Tensor:
    """The same for channels with their places in ``index`` (channels, k): (channels,) float32, on the CPU."""
    return per_place(tensor, axis).float().cpu()[index].sum(1)
