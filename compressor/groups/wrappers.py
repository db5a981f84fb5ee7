"""Compiled and distributed models are wrappers: the network inside is what has channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from compressor.groups.channels import ChannelGroup

DISTRIBUTED = (nn.parallel.DistributedDataParallel, nn.DataParallel)


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


def inside(groups: Sequence[ChannelGroup], prefix: str) -> tuple[ChannelGroup, ...]:
    """Groups of a network as groups of its wrapper: their members' modules are called ``prefix`` + name."""
    return tuple(_renamed(group, lambda name: f"{prefix}{name}".rstrip(".")) for group in groups)


def outside(groups: Sequence[ChannelGroup], prefix: str) -> tuple[ChannelGroup, ...]:
    """The reverse of `inside`."""
    return tuple(_renamed(group, lambda name: f"{name}.".removeprefix(prefix).rstrip(".")) for group in groups)


def _renamed(group: ChannelGroup, rename: Callable[[str], str]) -> ChannelGroup:
    members = tuple(
        replace(member, module=rename(member.module), feeds=None if member.feeds is None else rename(member.feeds))
        for member in group.members
    )
    return replace(group, members=members)
