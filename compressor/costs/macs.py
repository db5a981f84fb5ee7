"""MACs as a function of the channels kept: one row for every layer, output positions times kernel size a pair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.bare_weights import bare_weights
from compressor.channels import ChannelGroup
from compressor.costs.model import CostModel
from compressor.costs.tables import assembled, branch_costs, touched
from compressor.equivalence import Inputs
from compressor.layer_kinds import PRODUCERS, matrices
from compressor.positions import work
from compressor.products import module_of, product_name


def macs_model(model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup]) -> CostModel:
    """One row for every convolution and linear layer, for each of the weights of a recurrent one, and each product."""
    layers = _layers(model)
    positions, products = work(model, example_input)
    for name, bare in bare_weights(model, example_input, positions).items():
        row = next((row for row, (_, weight, _) in layers.items() if weight is bare.tensor), name)
        layers.setdefault(row, (row.rpartition(".")[0], bare.tensor, bare.axis))
        positions[row] = positions.get(row, 0.0) + bare.macs / bare.tensor.numel()
    holders: dict[Tensor, list[int]] = defaultdict(list)
    for place, (_, weight, _) in enumerate(layers.values()):
        holders[weight].append(place)
    axes = [axis for _, _, axis in layers.values()]
    tables = np.zeros((2, len(layers), len(groups)))
    for column, group in enumerate(groups):
        for tensor, axis, count in touched(model, group):
            # A tied weight has several holders.
            for place in holders.get(tensor, ()):
                tables[int(axis == axes[place]), place, column] += count
    rows = []
    for row, (module, weight, axis) in layers.items():
        outputs_, inputs = weight.shape[axis], weight.shape[1 - axis] if weight.ndim > 1 else 1
        kernel = weight.numel() / (outputs_ * inputs)
        rows.append((float(inputs), float(outputs_), kernel * positions.get(row, positions.get(module, 0.0))))
    made, more = _products(products, groups)
    tables = np.concatenate([tables, more], 1)
    modules = [*(module for module, _, _ in layers.values()), *map(module_of, products)]
    return assembled([*layers, *products], groups, rows + made, tables, 0.0, branch_costs(modules, groups))


def _products(
    macs: Mapping[str, float], groups: Sequence[ChannelGroup]
) -> tuple[list[tuple[float, float, float]], NDArray[np.float64]]:
    """The rows of products by name, linear in the channels of each side, and their tables."""
    places = {name: place for place, name in enumerate(macs)}
    widths, tables = np.ones((2, len(macs))), np.zeros((2, len(macs), len(groups)))
    for column, group in enumerate(groups):
        for product in group.products:
            place = places.get(product_name(product.module, product.number))
            if place is not None:
                widths[product.side, place] = product.width
                tables[product.side, place, column] += product.places
    return [(one, other, its / (one * other)) for one, other, its in zip(*widths, macs.values(), strict=True)], tables


def _layers(model: nn.Module) -> dict[str, tuple[str, Tensor, int]]:
    """The name of its module, the weight and the axis of its outputs for every row of MACs, which has a name too."""
    layers = {}
    for name, module in model.named_modules():
        weights = matrices(module) if isinstance(module, PRODUCERS) else {}
        for weight, axis in weights.items():
            layers[f"{name}.{weight}" if len(weights) > 1 else name] = (name, getattr(module, weight), axis)
    return layers
