"""Which scales of norms decide whether a channel does anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compressor.channels import vanishing_tensors
from compressor.equivalence import Inputs, each, outputs, random_inputs
from compressor.groups import ChannelGroup
from compressor.layer_kinds import NORMS
from compressor.splitting.taken_back import taken_back

Deciding = Sequence[tuple[int, Tensor]]
"""For each norm of a group the number of its scales, and the places (channels, k) of every channel there."""


def deciding_scales(model: nn.Module, example_input: Inputs, group: ChannelGroup, names: Sequence[str]) -> Deciding:
    """The scales that must be zero for a channel of ``group`` to be constant; empty when that does not make it so.

    ``names`` are those of the scales that are penalised. A group that has other norms too keeps its channels, and so
    does one that something reads without a norm between.
    """
    norms = [member for member in group.members if member.role == "norm"]
    scales = [f"{member.module}.weight".lstrip(".") for member in norms]
    known = all(isinstance(model.get_submodule(m.module), NORMS) for m in norms) and set(scales) <= set(names)
    if not norms or not known:
        return []
    behind = {member.module for member in norms}
    others = [member for member in group.vanishing if member.role != "norm"]
    # What a norm follows directly reaches nothing but by that norm.
    if not all(member.feeds in behind for member in others) and not _hidden(model, example_input, group):
        return []
    return [(names.index(scale), member.index) for scale, member in zip(scales, norms, strict=True)]


def channels_where(zeros: Sequence[Tensor], group: ChannelGroup, deciding: Deciding) -> Tensor:
    """Which channels of ``group`` have ``zeros`` at all places of all deciding scales: bool (channels,) on the CPU."""
    if not deciding:
        return torch.zeros(group.channels, dtype=torch.bool)
    return torch.stack([zeros[number].cpu()[places].all(1) for number, places in deciding]).all(0)


@torch.no_grad()
def _hidden(model: nn.Module, example_input: Inputs, group: ChannelGroup) -> bool:
    """Whether outputs are the same without what makes the channels, once all of the group's norms give zeros.

    So it is in a residual stream that is read through norms, or where norms follow a concatenation.
    """
    vanishing = list(vanishing_tensors(model, group))
    like = vanishing[0][0]
    drawn = random_inputs(example_input, torch.Generator().manual_seed(0))
    inputs = each(drawn, lambda tensor: tensor.to(like if tensor.is_floating_point() else like.device))
    with taken_back([parameter for parameter, _, _ in vanishing]):
        found = []
        for made in (False, True):
            for parameter, member, axis in vanishing:
                if made == (member.role != "norm"):
                    parameter.index_fill_(axis, member.index.flatten().to(parameter.device), 0.0)
            found.append(outputs(model, inputs))
    return all(torch.equal(one, other) for one, other in zip(*found, strict=True))
