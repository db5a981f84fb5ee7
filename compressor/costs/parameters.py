"""Parameters as a function of the channels kept: every tensor that loses channels is a row of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.channels import ChannelGroup, branches
from compressor.costs.model import CostModel
from compressor.costs.tables import assembled, branch_costs, touched
from compressor.layer_kinds import output_axis


def parameter_model(model: nn.Module, groups: Sequence[ChannelGroup]) -> CostModel:
    """One row for every parameter that loses channels, on at most two of its axes, or goes with a branch."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    parts = [[part for part in touched(model, group) if part[0] in names] for group in groups]
    axes: dict[Tensor, list[int]] = defaultdict(list)
    for tensor, axis, _ in chain.from_iterable(parts):
        if axis not in axes[tensor]:
            axes[tensor].append(axis)
    for tensor, name in names.items():
        if any(branch.holds(name) for branch in branches(groups)):
            axes[tensor] += ()
    places = {tensor: place for place, tensor in enumerate(axes)}
    tables = np.zeros((2, len(axes), len(groups)))
    for column, lost in enumerate(parts):
        for tensor, axis, count in lost:
            tables[axes[tensor].index(axis), places[tensor], column] += count
    rows = []
    for tensor, its_axes in axes.items():
        one, other = [tensor.shape[axis] for axis in its_axes] + [1] * (2 - len(its_axes))
        rows.append((float(one), float(other), tensor.numel() / (one * other)))
    rest = count_parameters(model) - sum(tensor.numel() for tensor in axes)
    layers = [names[tensor] for tensor in axes]
    constants = [ending for branch in branches(groups) for ending in branch.endings]
    for ending in constants:
        made, its = _made_by(model, ending.reader, groups)
        layers.append(f"{ending.module} (constant)")
        rows.append((1.0, float(made), 1.0))
        tables = np.concatenate([tables, np.stack([np.zeros_like(its), its])[:, None]], 1)
    found = branch_costs(layers[: len(axes)], groups, instead=[ending.module for ending in constants])
    return assembled(layers, groups, rows, tables, float(rest), found)


def _made_by(model: nn.Module, layer: str, groups: Sequence[ChannelGroup]) -> tuple[int, NDArray[np.float64]]:
    """How many channels a layer makes, and how many of them go with one of each group's (groups,)."""
    module = model.get_submodule(layer)
    weight, axis = module.get_parameter("weight"), output_axis(module)
    lost = [sum(n for t, its, n in touched(model, group) if t is weight and its == axis) for group in groups]
    return weight.shape[axis], np.array(lost, dtype=np.float64)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
