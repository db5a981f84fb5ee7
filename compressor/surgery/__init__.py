"""Surgery on networks: every tensor loses the places of the removed channels, every module its sizes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.channels import ChannelGroup
from compressor.equivalence import Inputs
from compressor.surgery.constants import Chosen, Constants, fold, observed
from compressor.surgery.cutting import cut
from compressor.surgery.replacements import equal_shortcuts, slim_touched


def remove(
    model: nn.Module, groups: Sequence[ChannelGroup], channels: Mapping[str, Sequence[int]], inputs: Inputs
) -> nn.Module:
    """``model`` without some zero channels of some groups, by the group's name.

    What such a channel still sends, an activation of zero that is not zero, goes into the bias of its readers.
    ``model`` is left as it is; the result shares with it the tensors that nothing is removed from.
    """
    chosen = [(group, list(channels[group.name])) for group in groups if len(channels.get(group.name, ()))]
    padded = {member.module for group, _ in chosen for member in group.members if member.role == "padding"}
    return without(model, chosen, observed(model, chosen, inputs)[1], equal_shortcuts(model, inputs, padded))


@torch.no_grad()
def without(
    model: nn.Module, chosen: Chosen, constants: Constants, shortcuts: Mapping[str, PaddedShortcut]
) -> nn.Module:
    """`remove`, when it is known what the chosen channels send and which shortcuts are equal to others."""
    shared = [*model.parameters(), *model.buffers()]
    small = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
    slim_touched(small, {member.module for group, _ in chosen for member in group.members})
    fold(small, constants)
    gone: dict[Tensor, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    padding: dict[PaddedShortcut, set[int]] = defaultdict(set)
    for group, places in chosen:
        for member in group.members:
            module = small.get_submodule(member.module)
            lost = set(member.index[places].flatten().tolist())
            if member.role == "padding":
                padding[_shortcut(small, member.module, shortcuts)] |= lost
            elif member.role == "count":
                name = member.tensors[0][0]
                setattr(module, name, getattr(module, name) - len(lost))
            else:
                for name, axis in member.tensors:
                    gone[getattr(module, name)][axis] |= lost
    _cut(small, gone)
    for shortcut, lost in padding.items():
        before = len([place for place in lost if place < shortcut.before])
        shortcut.before, shortcut.after = shortcut.before - before, shortcut.after - (len(lost) - before)
    return small


def _cut(model: nn.Module, gone: Mapping[Tensor, Mapping[int, set[int]]]) -> None:
    """Every module loses places of its tensors; tied tensors stay tied, frozen ones frozen."""
    homes = _homes(model)
    cuts: dict[nn.Module, dict[str, Mapping[int, set[int]]]] = defaultdict(dict)
    for tensor, axes in gone.items():
        for module, name in homes[tensor]:
            cuts[module][name] = axes
    for module, of_it in cuts.items():
        cut(module, of_it)
    for tensor in gone:
        (first, name), *others = homes[tensor]
        getattr(first, name).requires_grad_(tensor.requires_grad)
        for module, other in others:
            setattr(module, other, getattr(first, name))


def _shortcut(model: nn.Module, name: str, shortcuts: Mapping[str, PaddedShortcut]) -> PaddedShortcut:
    """The shortcut of that name; one that is not ours is replaced by its equal."""
    module = model.get_submodule(name)
    if not isinstance(module, PaddedShortcut):
        module = shortcuts[name]
        model.set_submodule(name, module)
    return module


def _homes(model: nn.Module) -> dict[Tensor, list[tuple[nn.Module, str]]]:
    """Where each parameter and buffer is held: tied ones in several places."""
    homes: dict[Tensor, list[tuple[nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                homes[tensor].append((module, name))
    return homes
