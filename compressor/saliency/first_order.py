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
from compressor.saliency.sums import per_place
from compressor.shards import in_rows, local, summed


class FirstOrder:
    """The terms of all channels of ``groups``, one after the other, from the gradients of ``parameters``."""

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup]) -> None:
        starts = [0, *accumulate(group.channels for group in groups)]
        self._sizes, self.parameters = [group.channels for group in groups], list[Tensor]()
        # The rows of all parameters are numbered through; each that counts belongs to a channel.
        self._axes, rows, index, owner = list[int](), 0, list[Tensor](), list[Tensor]()
        for group, start in zip(groups, starts, strict=False):
            for parameter, member, axis in _counted(model, group):
                self.parameters.append(parameter)
                self._axes.append(axis)
                index.append(rows + member.index.cpu().flatten())
                places = start + torch.arange(group.channels)[:, None].expand_as(member.index)
                owner.append(places.flatten())
                rows += parameter.shape[axis]
        self._index, self._owner = torch.cat(index), torch.cat(owner)

    @torch.no_grad()
    def terms(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """(channels of all groups,) float32, on the device of the first parameter; no gradient is one of zero.

        The ranks add up what each finds in the rows that it holds.
        """
        device = self.parameters[0].device
        self._index, self._owner = self._index.to(device), self._owner.to(device)  # the user may move the model
        parts = [local(parameter) for parameter in self.parameters]
        pairs = zip(parts, gradients, strict=True)
        known = [torch.zeros_like(one) if gradient is None else local(gradient) for one, gradient in pairs]
        triples = zip(torch._foreach_mul(parts, known), self.parameters, self._axes, strict=True)
        rows = summed(
            [in_rows(per_place(product, axis).float(), one, axis) for product, one, axis in triples], self.parameters
        )
        found = torch.zeros(sum(self._sizes), device=device)
        return found.index_add_(0, self._owner, torch.cat(rows)[self._index])

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
