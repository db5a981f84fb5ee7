"""Channel groups: everything that must vanish for one channel to be removed.

This is the only definition: what is penalised, zeroed, counted and removed comes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from compressor.channels import Branch, ChannelGroup, Member, is_zero, zero
from compressor.computed_weights import described, folded, tell
from compressor.equivalence import Inputs
from compressor.groups.probe import probed
from compressor.groups.refusals import refuse
from compressor.shards import refuse_shards
from compressor.wrappers import unwrapped

__all__ = ["ChannelGroup", "Member", "find_groups", "is_zero", "unprefixed", "unwrapped", "zero"]


def find_groups(model: nn.Module, example_input: Inputs) -> tuple[ChannelGroup, ...]:
    """All channel groups of ``model``, each probed; those that cannot be removed say why in ``excluded``.

    ``model`` is left as it is. ``example_input`` is (batch, *input_shape), or what one call of the model gets instead:
    positional arguments in a tuple, arguments by name in a dict, anything else, a list too, as the only argument; or
    `Examples` of it. Of a compiled or distributed model the network inside is looked at. `UsageError` when that takes
    longer than two minutes, or the model does not run on its example; a `CompressorWarning` when its code computes in
    float32 only, and is probed in that. Where it computes weights from others, by weight_norm for
    example, the groups are those of the network with plain weights in their place, and a `CompressorWarning` says so.
    """
    network, prefix = unwrapped(model)
    refuse_shards(network)
    refuse(network)
    with torch.inference_mode(False), torch.no_grad():
        plain = folded(network)
        if plain is not network:
            tell(described(network), "the groups are those of its copy with plain weights (fold_weights)", 2)
        return _prefixed(probed(plain, example_input), prefix)


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
    products = tuple(replace(product, module=rename(product.module)) for product in group.products)
    branch = None if group.branch is None else _renamed_branch(group.branch, rename)
    return replace(group, members=members, products=products, branch=branch)


def _renamed_branch(branch: Branch, rename: Callable[[str], str]) -> Branch:
    endings = tuple(
        replace(
            ending,
            module=rename(ending.module),
            reader=rename(ending.reader),
            norm=None if ending.norm is None else rename(ending.norm),
        )
        for ending in branch.endings
    )
    return replace(branch, endings=endings, gone=tuple(map(rename, branch.gone)))
