"""Channel groups: everything that must vanish for one channel to be removable.

This is the only definition: what is penalised, zeroed, counted and removed comes from here.
"""

from __future__ import annotations

import torch
from torch import nn

from compressor.equivalence import Inputs
from compressor.groups.channels import ChannelGroup, Member, is_zero, zero
from compressor.groups.probe import probed
from compressor.groups.removal import remove
from compressor.groups.wrappers import inside, outside, unwrapped

__all__ = ["ChannelGroup", "Member", "find_groups", "is_zero", "outside", "remove", "unwrapped", "zero"]


def find_groups(model: nn.Module, example_input: Inputs) -> tuple[ChannelGroup, ...]:
    """All channel groups of ``model``, each probed; those that cannot be removed say why in ``excluded``.

    ``model`` is left as it is. ``example_input`` is (batch, *input_shape), or what the model takes instead: a
    tuple of tensors, or tensors by name. Of a compiled or distributed model the network inside is looked at.
    `UsageError` when that takes longer than two minutes.
    """
    network, prefix = unwrapped(model)
    with torch.inference_mode(False), torch.no_grad():
        return inside(probed(network, example_input), prefix)
