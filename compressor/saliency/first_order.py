"""By how much the loss changes, to first order, when all that must vanish with a channel vanishes.

The sum of (weight times gradient) over these tensors (Molchanov et al., "Importance estimation for neural network
pruning", 2019, eq. 8): gamma dgamma + beta dbeta of the BatchNorm behind a channel, and without one w dw of its filter.
Filters in front of a norm count nothing: their scale changes no output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from compressor.channels import vanishing_tensors
from compressor.groups import ChannelGroup, Member
from compressor.layer_kinds import NORMS


class FirstOrder:
    """The terms of all channels of ``groups``, one after the other, from the gradients of ``parameters``."""

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        starts = [0, *accumulate(group.channels for group in groups)]
        self._sizes, self.parameters = [group.channels for group in groups], list[Tensor]()
        self._axes, self._index, self._owner = list[int](), list[Tensor](), list[Tensor]()
        for group, start in zip(groups, starts, strict=False):
            for parameter, member, axis in _counted(model, group):
                self.parameters.append(parameter)
                self._axes.append(axis)
                self._index.append(member.index.flatten())
                places = start + torch.arange(group.channels)[:, None].expand_as(member.index)
                self._owner.append(places.flatten())

    @torch.no_grad()
    def terms(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """(channels of all groups,) float32, on the device of the first parameter."""
        device = self.parameters[0].device
        if self._owner[0].device != device:  # the user may move the model
            self._owner, self._index = ([t.to(device) for t in ts] for ts in (self._owner, self._index))
        found = torch.zeros(sum(self._sizes), device=device)
        rows = zip(self.parameters, gradients, self._axes, self._index, self._owner, strict=True)
        for parameter, gradient, axis, index, owner in rows:
            if gradient is not None:
                rest = [dim for dim in range(parameter.ndim) if dim != axis]
                products = parameter.detach() * gradient
                found.index_add_(0, owner, (products.sum(rest) if rest else products).float()[index])
        return found

    def split(self, terms: Tensor) -> list[Tensor]:
        """The terms by group, on the CPU."""
        return list(torch.split(terms.cpu(), self._sizes))


def _counted(model: nn.Module, group: ChannelGroup) -> Iterator[tuple[Tensor, Member, int]]:
    """The tensors whose vanishing is counted, each with its axis; of norms without weights their readers'."""
    plain = False
    for parameter, member, axis in vanishing_tensors(model, group):
        if member.role == "producer" and member.feeds is not None:
            norm = model.get_submodule(member.feeds)
            assert isinstance(norm, NORMS)
            plain |= not norm.affine
            continue
        yield parameter, member, axis
    for member in group.members if plain else ():
        if member.role == "consumer":
            module = model.get_submodule(member.module)
            yield from ((getattr(module, name), member, axis) for name, axis in member.tensors)
