"""From the rows of a network to its cost model: what they lose with a channel, and which go with a branch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.channels import ChannelGroup, branches
from compressor.costs.model import BranchCosts, CostModel


def assembled(
    names: Sequence[str],
    groups: Sequence[ChannelGroup],
    rows: Sequence[tuple[float, float, float]],
    tables: NDArray[np.float64],
    fixed: float,
    found: BranchCosts | None,
) -> CostModel:
    """The cost model of ``rows`` of inputs, outputs and cost per pair, with ``tables`` (2, layers, groups) of them."""
    inputs, outputs_, per_pair = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return CostModel(
        layers=tuple(names),
        channels=np.array([group.channels for group in groups], dtype=np.int64),
        places=np.array([group.places for group in groups], dtype=np.int64),
        inputs=inputs,
        outputs=outputs_,
        inputs_per_channel=tables[0],
        outputs_per_channel=tables[1],
        per_pair=per_pair,
        fixed=fixed,
        branches=found,
    )


def branch_costs(
    layers: Sequence[str], groups: Sequence[ChannelGroup], instead: Sequence[str] = ()
) -> BranchCosts | None:
    """What goes with branches of ``layers``, modules or parameters, and of more that are ``instead`` of these."""
    found = branches(groups)
    if not found:
        return None
    members = np.zeros((len(found), len(groups)), dtype=np.int64)
    for number, places in enumerate(found.values()):
        members[number, places] = 1
    goes = [next((n for n, one in enumerate(found) if one.holds(name)), len(found)) for name in (*layers, *instead)]
    late = np.arange(len(goes)) >= len(layers)
    return BranchCosts(members, members.sum(1), np.array(goes, dtype=np.int64), late)


def touched(model: nn.Module, group: ChannelGroup) -> list[tuple[Tensor, int, int]]:
    """Every tensor that loses places with a channel of ``group``: on which axis, and how many."""
    found = []
    for member in group.members:
        module = model.get_submodule(member.module)
        for name, axis in member.tensors:
            tensor = getattr(module, name)
            if isinstance(tensor, Tensor):
                found.append((tensor, axis, member.index.shape[1]))
    return found
