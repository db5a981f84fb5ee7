"""Channel groups: everything that must vanish for one channel to be removed.

This is the only definition: what is penalised, zeroed, counted and removed comes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from compressor.channels import ChannelGroup, Member, is_zero, zero
from compressor.computed_weights import described, folded, tell
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups.probe import probed

__all__ = ["ChannelGroup", "Member", "find_groups", "is_zero", "unprefixed", "unwrapped", "zero"]

# Compiled and distributed models are wrappers: the network inside is what has channels.
DISTRIBUTED = (nn.parallel.DistributedDataParallel, nn.DataParallel)


def find_groups(model: nn.Module, example_input: Inputs) -> tuple[ChannelGroup, ...]:
    """All channel groups of ``model``, each probed; those that cannot be removed say why in ``excluded``.

    ``model`` is left as it is. ``example_input`` is (batch, *input_shape), or what the model takes instead: a
    tuple of tensors, or tensors by name. Of a compiled or distributed model the network inside is looked at.
    `UsageError` when that takes longer than two minutes. Where it computes weights from others, by weight_norm for
    example, the groups are those of the network with plain weights in their place, and a `CompressorWarning` says so.
    """
    network, prefix = unwrapped(model)
    refuse_scripted(network)
    with torch.inference_mode(False), torch.no_grad():
        plain = folded(network)
        if plain is not network:
            tell(described(network), "the groups are those of its copy with plain weights (fold_weights)", 2)
        return _prefixed(probed(plain, example_input), prefix)


def refuse_scripted(model: nn.Module) -> None:
    """Raise `UsageError` for a network with compiled TorchScript in it, whose operations belong to no module."""
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            what = f"{name} is" if name else "the network is"
            raise UsageError(
                f"{what} TorchScript ({type(module).__name__}), which hides the layers; "
                "give the Python module that was scripted or traced, with these weights loaded into it"
            )


def unwrapped(model: nn.Module) -> tuple[nn.Module, str]:
    """The network inside all wrappers, and what stands before the names of its modules in ``model``."""
    prefix = ""
    while True:
        if isinstance(model, DISTRIBUTED):
            model, prefix = model.module, f"{prefix}module."
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model, prefix = inner, f"{prefix}_orig_mod."
        else:
            return model, prefix


def _prefixed(groups: Sequence[ChannelGroup], prefix: str) -> tuple[ChannelGroup, ...]:
    """Groups of a network as groups of its wrapper: their members' modules are called ``prefix`` + name."""
    return tuple(_renamed(group, lambda name: f"{prefix}{name}".rstrip(".")) for group in groups)


def unprefixed(groups: Sequence[ChannelGroup], prefix: str) -> tuple[ChannelGroup, ...]:
    """Groups of a wrapper as those of the network inside, whose modules are called without ``prefix``."""
    return tuple(_renamed(group, lambda name: f"{name}.".removeprefix(prefix).rstrip(".")) for group in groups)


def _renamed(group: ChannelGroup, rename: Callable[[str], str]) -> ChannelGroup:
    members = tuple(
        replace(member, module=rename(member.module), feeds=None if member.feeds is None else rename(member.feeds))
        for member in group.members
    )
    return replace(group, members=members)
