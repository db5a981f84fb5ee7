"""How much of a channel reaches the next layer.

The norm of a filter in front of BatchNorm means nothing: scaling the filter changes no output. So
the filter is measured with BatchNorm folded in, times the norm of the slice of the next layer
that reads it, each relative to its layer's mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressor.groups import ChannelGroup, Member
from compressor.groups.channels import channel_axis


@torch.no_grad()
def saliency(model: nn.Module, group: ChannelGroup) -> Tensor:
    """Squared saliency of every channel of ``group``, with mean 1: (channels,) float32 on the CPU."""
    made = [_relative(_sent(model, m)) for m in group.members if m.role == "producer"]
    read = [_relative(_read(model, m)) for m in group.members if m.role == "consumer"]
    return _relative(torch.stack(made).mean(0) * torch.stack(read).mean(0))


def _sent(model: nn.Module, member: Member) -> Tensor:
    """Squared norm of what a producer sends, BatchNorm folded in: (channels,)."""
    module = model.get_submodule(member.module)
    per_place = _per_place(module, member)
    if module.bias is not None:
        per_place = per_place + module.bias.square()  # type: ignore[operator]
    if member.feeds is not None:
        norm = model.get_submodule(member.feeds)
        if norm.running_var is not None:
            per_place = per_place / (norm.running_var + norm.eps)  # type: ignore[operator]
        if norm.weight is not None:
            per_place = per_place * norm.weight.square()  # type: ignore[operator]
    return _per_channel(per_place, member)


def _read(model: nn.Module, member: Member) -> Tensor:
    """Squared norm of the slices of a consumer that read each channel: (channels,)."""
    return _per_channel(_per_place(model.get_submodule(member.module), member), member)


def _per_place(module: nn.Module, member: Member) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    axis = channel_axis(module, member)
    return weight.square().sum([dim for dim in range(weight.ndim) if dim != axis])


def _per_channel(per_place: Tensor, member: Member) -> Tensor:
    return per_place.float().cpu()[member.index].sum(1)


def _relative(squared: Tensor) -> Tensor:
    mean = squared.mean()
    return squared / mean if mean > 0 else squared
