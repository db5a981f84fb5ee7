"""What convolutions and linear layers compute as one product: the rows that their weights are multiplied with."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.layer_kinds import PLAIN_CONVOLUTIONS, channel_axis

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def weight_of(layer: Layer) -> Tensor:
    """The weights as (groups, outputs of a group, features), float64 on the CPU."""
    return layer.weight.detach().double().cpu().reshape(_groups(layer), -1, layer.weight[0].numel())


def rows_of(layer: Layer, given: Tensor, positions: Tensor) -> Tensor:
    """What the weights of ``layer`` are multiplied with, (groups, rows, features), when it reads ``given``: a copy.

    ``positions`` are those that count in each sample, as `positions_in` numbers them.
    """
    if isinstance(layer, nn.Linear):
        return given.reshape(len(given), -1, given.shape[-1])[:, positions].reshape(1, -1, given.shape[-1])
    windows = _windows(layer, given)
    places = windows.shape[1 : 1 + len(layer.kernel_size)]
    index: tuple[slice | Tensor, ...] = (slice(None), *torch.unravel_index(positions, tuple(places)))
    read = windows[index]
    return read.reshape(-1, layer.groups, layer.weight[0].numel()).transpose(0, 1)


def outputs_of(layer: Layer, made: Tensor, positions: Tensor, kept: Tensor | None = None) -> Tensor:
    """What ``layer`` made, or a wider one of whose outputs the ``kept`` are left: (groups, rows, outputs), a copy."""
    last = made.movedim(channel_axis(layer), -1)
    rows = last.reshape(len(last), -1, last.shape[-1])[:, positions]
    left = rows if kept is None else rows[..., kept.to(rows.device)]
    return left.reshape(-1, _groups(layer), left.shape[-1] // _groups(layer)).transpose(0, 1)


def positions_in(layer: Layer, made: Tensor) -> int:
    """How many rows a sample of what ``layer`` made has: heights times widths, or the axes between first and last."""
    return made[0].numel() // made.shape[channel_axis(layer)]


def _groups(layer: Layer) -> int:
    return layer.groups if isinstance(layer, PLAIN_CONVOLUTIONS) else 1


def _windows(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, given: Tensor) -> Tensor:
    """What the kernel lies on, (batch, *output places, channels, *kernel): a view of the padded input."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = F.pad(given, layer._reversed_padding_repeated_twice, mode=mode)
    for axis, (size, step, apart) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), 2):
        padded = padded.unfold(axis, apart * (size - 1) + 1, step)[..., ::apart]
    return padded.movedim(1, 1 + len(layer.kernel_size))
