"""What can be removed from a network, as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressor.alignment import Alignment
from compressor.checkpoints import Network
from compressor.costs import CostModel, cost_model, count_macs, count_parameters
from compressor.groups import find_groups, is_zero
from compressor.splitting.budget import Budget


def inspect_network(network: Network, alignment: Alignment) -> dict[str, Any]:
    """Every channel group of ``network``, and the least MACs that removing channels can reach."""
    model, example = network.model, network.example_input()
    groups = find_groups(model, example)
    prunable = [group for group in groups if group.prunable]
    budget = Budget(cost_model(model, example, prunable, "macs"), alignment)
    zeros = [int(is_zero(model, group).sum()) for group in prunable]
    carried = _carried(cost_model(model, example, groups, "macs"))
    return {
        "architecture": network.metadata.architecture.ref,
        "input_shape": list(network.metadata.input_shape),
        "normalization": str(network.metadata.normalization) if network.metadata.normalization else None,
        "classes": list(network.metadata.classes) if network.metadata.classes else None,
        "data": network.metadata.data.ref if network.metadata.data else None,
        "history": [dict(stage) for stage in network.metadata.history],
        "macs": count_macs(model, example),
        "parameters": count_parameters(model),
        "zero_channels": sum(zeros),
        "least_macs": budget.cost.total(budget.least) if prunable else None,
        "groups": [
            {
                "name": group.name,
                "channels": group.channels,
                "macs": macs,
                "members": [f"{member.module} ({member.role})" for member in group.members],
                "excluded": group.excluded,
            }
            for group, macs in zip(groups, carried, strict=True)
        ],
    }


def _carried(cost: CostModel) -> list[int]:
    """MACs that would go with all channels of each group, the other groups kept whole."""
    whole = np.arange(len(cost.channels))
    return [cost.total() - cost.total(np.where(whole == group, 0, cost.channels)) for group in whole]
