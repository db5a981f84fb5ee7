"""How much of a channel reaches the next layer.

The norm of a filter in front of BatchNorm means nothing: scaling the filter changes no output. So
the filter is measured with BatchNorm folded in, times the norm of the slice of the next layer
that reads it, with the BatchNorm after that layer folded in too; each relative to its layer's mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressor.groups import ChannelGroup, Member
from compressor.layer_kinds import NORMS
from compressor.saliency.base import Saliency, relative
from compressor.saliency.sums import per_channel, per_place
from compressor.shards import whole


class Weights(Saliency):
    """`squared_saliency` of every group."""

    def values(self) -> list[Tensor]:
        """By the weights and statistics as they are."""
        return [squared_saliency(self.model, group) for group in self.groups]


@torch.no_grad()
def squared_saliency(model: nn.Module, group: ChannelGroup) -> Tensor:
    """Squared saliency of every channel of ``group``, its mean the number of readers: (channels,) float32, on the CPU.

    A channel of a residual stream is missing in every layer that reads it, so readers add up.
    """
    made = [relative(_sent(model, m)) for m in group.members if m.role == "producer"]
    read = [relative(_read(model, m)) for m in group.members if m.role == "consumer"]
    if not read:
        # Queries and keys read each other.
        return relative(torch.stack(made).prod(0))
    return len(read) * relative(torch.stack(made).mean(0) * torch.stack(read).mean(0))


def _sent(model: nn.Module, member: Member) -> Tensor:
    """Squared norm of what a producer sends, BatchNorm folded in: (channels,)."""
    sent = torch.stack([per_place(tensor.square(), axis) for tensor, axis in _tensors(model, member)]).sum(0)
    gain = _squared_gain(model, member)
    return per_channel(sent if gain is None else sent * gain, 0, member.index)


def _read(model: nn.Module, member: Member) -> Tensor:
    """Squared norm of a consumer's slices that read each channel, the BatchNorm after it folded in: (channels,)."""
    gain = _squared_gain(model, member)
    found = []
    for tensor, axis in _tensors(model, member):
        squared = tensor.square()
        if gain is not None:
            # What is made lies on the other of the first two axes.
            squared = squared * gain.view([-1 if dim == 1 - axis else 1 for dim in range(squared.ndim)])
        found.append(per_channel(squared, axis, member.index))
    return torch.stack(found).sum(0)


def _squared_gain(model: nn.Module, member: Member) -> Tensor | None:
    """By what the norm that follows multiplies the squares of its inputs: (outputs of the module,), None without."""
    if member.feeds is None:
        return None
    norm = model.get_submodule(member.feeds)
    assert isinstance(norm, NORMS)
    squared = whole(norm.weight).square() if norm.affine else None
    if norm.running_var is None:
        return squared
    variance = norm.running_var + norm.eps
    return 1 / variance if squared is None else squared / variance


def _tensors(model: nn.Module, member: Member) -> list[tuple[Tensor, int]]:
    """The member's weights and biases, each with the axis of its channels."""
    module = model.get_submodule(member.module)
    return [(whole(getattr(module, name)), axis) for name, axis in member.tensors]
