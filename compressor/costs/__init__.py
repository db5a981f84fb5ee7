"""What a network costs, as a function of how many channels of each group are kept.

1 MAC = 2 FLOPs, and convolutions, linear and recurrent layers and products with other parameters count, and products of
queries with keys and of weights with values, each a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from compressor.channels import ChannelGroup
from compressor.computed_weights import folded
from compressor.costs.macs import macs_model
from compressor.costs.model import BranchCosts, CostModel
from compressor.costs.parameters import count_parameters, parameter_model
from compressor.equivalence import Inputs

__all__ = ["BranchCosts", "CostModel", "Kind", "cost_model", "count_macs", "count_parameters"]

Kind = Literal["macs", "params"]


def cost_model(model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup], kind: Kind) -> CostModel:
    """The cost of ``model`` on one sample, in MACs or in parameters, as a function of the groups' channels."""
    model = folded(model)
    return macs_model(model, example_input, groups) if kind == "macs" else parameter_model(model, groups)


def count_macs(model: nn.Module, example_input: Inputs) -> int:
    """MACs of one sample through ``model``."""
    return cost_model(model, example_input, (), "macs").total()
