"""Residual branches in which every channel is zero: a constant takes their place."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.architectures.constant import Constant
from compressor.equivalence import Inputs, outputs
from compressor.groups.channels import ChannelGroup, Member


@torch.no_grad()
def bypassed(model: nn.Module, group: ChannelGroup, norms: Mapping[str, str], inputs: Inputs) -> nn.Module | None:
    """A copy of ``model`` without the layers on both sides of ``group``, whose channels are all zero.

    What its readers, and the ``norms`` behind them, still give becomes a constant; None when that is not constant.
    A constant is right where it is added to something; the caller proves that it is.
    """
    made = [member.module for member in group.members if member.role != "consumer"]
    ends = {m.module: norms.get(m.module, m.module) for m in group.members if m.role == "consumer"}
    values = _constants(model, list(ends.values()), inputs)
    if not ends or any(value is None for value in values.values()):
        return None
    small = copy.deepcopy(model)
    for name in [*made, *ends.values()]:
        small.set_submodule(name, nn.Identity())
    for reader, end in ends.items():
        value = values[end]
        assert value is not None
        constant = Constant(len(value), value.ndim - 1)
        trained = all(parameter.requires_grad for parameter in model.get_submodule(reader).parameters())
        constant.value = nn.Parameter(value, trained)
        small.set_submodule(reader, constant.train(model.get_submodule(reader).training))
    return small


def is_branch(model: nn.Module, group: ChannelGroup) -> bool:
    """Whether the modules of ``group`` have no other channels on the side on which its channels lie."""
    return all(_covers(model.get_submodule(member.module), member) for member in group.members)


def norms_behind(groups: Sequence[ChannelGroup]) -> dict[str, str]:
    """The norm that directly follows each layer that has one."""
    members = [member for group in groups for member in group.members if member.role == "producer"]
    return {member.module: member.feeds for member in members if member.feeds is not None}


def _covers(module: nn.Module, member: Member) -> bool:
    tensors = dict(member.tensors)
    if member.role not in {"producer", "norm", "follower", "consumer"} or "weight" not in tensors:
        return False
    weight = module.weight
    alone = isinstance(weight, Tensor) and not list(module.children())
    return alone and member.index.numel() == weight.shape[tensors["weight"]]  # type: ignore[index]


def _constants(model: nn.Module, names: Sequence[str], inputs: Inputs) -> dict[str, Tensor | None]:
    """What each module gives, (channels, 1, ...), when that is the same everywhere."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def watch(name: str) -> Any:
        return lambda module, args, out: seen[name].append(out)

    hooks = [model.get_submodule(name).register_forward_hook(watch(name)) for name in names]
    try:
        outputs(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _constant(found[0]) if len(found) == 1 else None for name, found in seen.items()}


def _constant(out: Tensor) -> Tensor | None:
    # A linear layer gives its channels on the last axis, whatever is in front of it.
    images = out.ndim > 3
    first = out[:1, :, *(slice(0, 1) for _ in out.shape[2:])] if images else out.reshape(-1, out.shape[-1])[:1]
    return first[0].clone() if bool((out == first).all()) else None
