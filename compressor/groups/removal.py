"""Physical removal: every tensor loses the places of the removed channels, every module its sizes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.groups.channels import ChannelGroup, output_axis
from compressor.groups.constants import Chosen, Constants, fold, observed
from compressor.groups.resizing import resize
from compressor.groups.shortcuts import equal_shortcuts
from compressor.proofs import Inputs


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
    """`remove`, when it is known what the chosen channels send and which shortcuts equal foreign ones."""
    shared = [*model.parameters(), *model.buffers()]
    small = copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
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
            if member.role == "producer":
                _lose_bias(module, dict(member.tensors), gone, lost)
    homes = _homes(small)
    touched = dict.fromkeys(module for tensor in gone for module, _ in homes[tensor])
    for tensor, axes in gone.items():
        _replace(tensor, _without(tensor, axes), homes[tensor])
    for module in touched:
        resize(module)
    for shortcut, lost in padding.items():
        before = len([place for place in lost if place < shortcut.before])
        shortcut.before, shortcut.after = shortcut.before - before, shortcut.after - (len(lost) - before)
    return small


def _shortcut(model: nn.Module, name: str, shortcuts: Mapping[str, PaddedShortcut]) -> PaddedShortcut:
    """The shortcut of that name; a foreign one is replaced by its equal."""
    module = model.get_submodule(name)
    if not isinstance(module, PaddedShortcut):
        module = shortcuts[name]
        model.set_submodule(name, module)
    return module


def _lose_bias(
    module: nn.Module, tensors: Mapping[str, int], gone: dict[Tensor, dict[int, set[int]]], lost: set[int]
) -> None:
    """A bias that folding has added goes with the rows of its weight."""
    bias = getattr(module, "bias", None)
    if "bias" not in tensors and isinstance(bias, Tensor) and tensors["weight"] == output_axis(module):
        gone[bias][0] |= lost


def _homes(model: nn.Module) -> dict[Tensor, list[tuple[nn.Module, str]]]:
    """Where each parameter and buffer is held: tied ones in several places."""
    homes: dict[Tensor, list[tuple[nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                homes[tensor].append((module, name))
    return homes


def _without(tensor: Tensor, axes: Mapping[int, set[int]]) -> Tensor:
    found = tensor.detach()
    for axis, lost in axes.items():
        kept = [place for place in range(tensor.shape[axis]) if place not in lost]
        found = found.index_select(axis, torch.tensor(kept, dtype=torch.long, device=tensor.device))
    return found


def _replace(tensor: Tensor, new: Tensor, homes: Sequence[tuple[nn.Module, str]]) -> None:
    if isinstance(tensor, nn.Parameter):
        new = nn.Parameter(new, tensor.requires_grad)
    for module, name in homes:
        setattr(module, name, new)
