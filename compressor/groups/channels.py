"""A channel group as data: which rows, entries and slices of which modules belong to each channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Role = Literal["producer", "norm", "consumer"]


@dataclass(frozen=True, eq=False)
class Member:
    """One module's part in a group.

    ``index`` (channels, k) names, for every channel, k places on the module's channel axis: output
    rows of a producer (convolution, linear), entries of a norm, input slices of a consumer.
    ``feeds`` is the norm that directly follows a producer, if any.
    """

    module: str
    role: Role
    index: Tensor
    feeds: str | None = None


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only be removed together with all their members; named after one of its producers."""

    name: str
    channels: int
    members: tuple[Member, ...]
    excluded: str | None = None

    @property
    def prunable(self) -> bool:
        """Whether its channels can be removed; ``excluded`` says why not."""
        return self.excluded is None

    @property
    def vanishing(self) -> tuple[Member, ...]:
        """The members whose entries must be zero for a channel to be removable."""
        return tuple(member for member in self.members if member.role != "consumer")


def vanishing_tensors(model: nn.Module, group: ChannelGroup) -> Iterator[tuple[nn.Parameter, Member, int]]:
    """Every parameter that must vanish with the group's channels, its member and its channel axis."""
    for member in group.vanishing:
        module = model.get_submodule(member.module)
        for name, parameter in module.named_parameters(recurse=False):
            yield parameter, member, channel_axis(module, member) if name == "weight" else 0


def channel_axis(module: nn.Module, member: Member) -> int:
    """The axis of ``module.weight`` on which the member's channels lie."""
    axis = output_axis(module)
    return 1 - axis if member.role == "consumer" else axis


def output_axis(module: nn.Module) -> int:
    """The axis of ``module.weight`` on which its output channels lie: 1 for transposed convolutions, else 0."""
    transposed = isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d)
    # A depthwise one has one output per input, and they lie on axis 0.
    return int(transposed and module.groups == 1)


@torch.no_grad()
def zero(model: nn.Module, group: ChannelGroup, channels: Tensor) -> None:
    """Set everything that must vanish with ``channels`` (bool mask or indices) to exactly zero."""
    for parameter, member, axis in vanishing_tensors(model, group):
        places = member.index[channels].flatten().to(parameter.device)
        parameter.index_fill_(axis, places, 0.0)


@torch.no_grad()
def is_zero(model: nn.Module, group: ChannelGroup) -> Tensor:
    """Which channels are exactly zero in every vanishing member: bool (channels,)."""
    total = torch.zeros(group.channels, dtype=torch.bool)
    for parameter, member, axis in vanishing_tensors(model, group):
        rest = [dim for dim in range(parameter.ndim) if dim != axis]
        # Not a sum of squares: squares of tiny weights underflow to zero.
        largest = parameter.detach().abs().amax(rest) if rest else parameter.detach().abs()
        total |= (largest.cpu()[member.index] != 0).any(1)
    return ~total
