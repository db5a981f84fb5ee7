"""Channel groups: everything that must vanish for one channel to be removable.

This is the only definition: what is penalised, zeroed, counted and removed comes from here.
"""

from __future__ import annotations

from torch import Tensor, nn

from compressor.groups.channels import ChannelGroup, Member, is_zero, zero
from compressor.groups.graph import DependencyGraph
from compressor.groups.probe import probed

__all__ = ["ChannelGroup", "DependencyGraph", "Member", "find_groups", "is_zero", "zero"]


def find_groups(model: nn.Module, example_input: Tensor) -> tuple[ChannelGroup, ...]:
    """All channel groups of ``model``, each probed; those that cannot be removed say why in ``excluded``.

    ``model`` is left as it is. ``example_input`` is (batch >= 2, *input_shape).
    """
    return probed(model, example_input, DependencyGraph(model, example_input).groups())
