"""What a network costs, as a function of how many channels of each group are kept.

Every cost here is bilinear: a layer costs ``per_pair * inputs * outputs``. For MACs, ``per_pair`` counts output
positions times kernel size; 1 MAC = 2 FLOPs, and convolutions, linear and recurrent layers and products with other
parameters count, and products of queries with keys and of weights with values, each a row of its own. For
parameters, every tensor that loses channels is a layer of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from compressor.bare_weights import bare_weights
from compressor.channels import ChannelGroup, branches
from compressor.computed_weights import folded
from compressor.equivalence import Inputs
from compressor.layer_kinds import PRODUCERS, matrices, output_axis
from compressor.positions import work
from compressor.products import module_of, product_name

Kind = Literal["macs", "params"]


@dataclass(frozen=True, eq=False)
class BranchCosts:
    """Which layers go with a branch: all of them, whatever channels they have, once its groups keep none.

    ``groups`` (branches, groups) says which belong to each, ``sizes`` how many it has. ``branch`` (layers,) is that
    with which a layer goes, or one more than there are. A layer that is ``instead`` is there when the branch is not.
    """

    groups: NDArray[np.int64]
    sizes: NDArray[np.int64]
    branch: NDArray[np.int64]
    instead: NDArray[np.bool_]

    def there(self, kept: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which layers are there when ``kept`` (groups,) channels stay: (layers,)."""
        gone: NDArray[np.bool_] = np.append(self.groups @ (kept == 0) == self.sizes, False)
        there: NDArray[np.bool_] = gone[self.branch] == self.instead
        return there


@dataclass(frozen=True, eq=False)
class CostModel:
    """Cost of each layer, and of the whole network, for any number of kept channels per group.

    Arrays are (layers,), (groups,) or (layers, groups): ``places`` are those of a channel in its layers,
    ``inputs_per_channel[l, g]`` is how many inputs layer l loses with one channel of group g.
    """

    layers: tuple[str, ...]
    channels: NDArray[np.int64]
    places: NDArray[np.int64]
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]
    inputs_per_channel: NDArray[np.float64]
    outputs_per_channel: NDArray[np.float64]
    per_pair: NDArray[np.float64]
    fixed: float
    branches: BranchCosts | None = None

    def by_layer(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Cost of every layer (layers,) when ``kept`` (groups,) channels stay; all of them by default."""
        left = self.channels if kept is None else np.asarray(kept)
        gone = self.channels - left
        inputs = self.inputs - self.inputs_per_channel @ gone
        outputs = self.outputs - self.outputs_per_channel @ gone
        costs: NDArray[np.float64] = self.per_pair * inputs * outputs
        return costs if self.branches is None else costs * self.branches.there(left)

    def of(self, chosen: Sequence[bool]) -> CostModel:
        """The same costs as a function of the ``chosen`` groups alone; the others stay whole."""
        columns = np.flatnonzero(chosen)
        return replace(
            self,
            channels=self.channels[columns],
            places=self.places[columns],
            inputs_per_channel=self.inputs_per_channel[:, columns],
            outputs_per_channel=self.outputs_per_channel[:, columns],
            branches=self.branches and replace(self.branches, groups=self.branches.groups[:, columns]),
        )

    def total(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> int:
        """Cost of the whole network."""
        return round(float(self.by_layer(kept).sum()) + self.fixed)

    def carried(self, chosen: Sequence[bool]) -> int:
        """What would go with all channels of the ``chosen`` groups, the others kept whole."""
        return self.total() - self.total(np.where(chosen, 0, self.channels))

    def saved_per_channel(self) -> NDArray[np.float64]:
        """What removing one channel of each group from the full network saves: (groups,)."""
        full = float(self.by_layer().sum())
        one_less = self.channels - np.eye(len(self.channels), dtype=np.int64)
        return np.array([full - float(self.by_layer(kept).sum()) for kept in one_less])


def cost_model(model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup], kind: Kind) -> CostModel:
    """The cost of ``model`` on one sample, in MACs or in parameters, as a function of the groups' channels."""
    model = folded(model)
    return _macs(model, example_input, groups) if kind == "macs" else _parameters(model, groups)


def _macs(model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup]) -> CostModel:
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
        for tensor, axis, count in _touched(model, group):
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
    return _cost_model([*layers, *products], groups, rows + made, tables, 0.0, _branch_costs(modules, groups))


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


def _parameters(model: nn.Module, groups: Sequence[ChannelGroup]) -> CostModel:
    """One row for every parameter that loses channels, on at most two of its axes, or goes with a branch."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    touched = [[part for part in _touched(model, group) if part[0] in names] for group in groups]
    axes: dict[Tensor, list[int]] = defaultdict(list)
    for tensor, axis, _ in chain.from_iterable(touched):
        if axis not in axes[tensor]:
            axes[tensor].append(axis)
    for tensor, name in names.items():
        if any(branch.holds(name) for branch in branches(groups)):
            axes[tensor] += ()
    places = {tensor: place for place, tensor in enumerate(axes)}
    tables = np.zeros((2, len(axes), len(groups)))
    for column, parts in enumerate(touched):
        for tensor, axis, count in parts:
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
    found = _branch_costs(layers[: len(axes)], groups, instead=[ending.module for ending in constants])
    return _cost_model(layers, groups, rows, tables, float(rest), found)


def _made_by(model: nn.Module, layer: str, groups: Sequence[ChannelGroup]) -> tuple[int, NDArray[np.float64]]:
    """How many channels a layer makes, and how many of them go with one of each group's (groups,)."""
    module = model.get_submodule(layer)
    weight, axis = module.get_parameter("weight"), output_axis(module)
    lost = [sum(n for t, its, n in _touched(model, group) if t is weight and its == axis) for group in groups]
    return weight.shape[axis], np.array(lost, dtype=np.float64)


def _branch_costs(
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


def _touched(model: nn.Module, group: ChannelGroup) -> list[tuple[Tensor, int, int]]:
    """Every tensor that loses places with a channel of ``group``: on which axis, and how many."""
    touched = []
    for member in group.members:
        module = model.get_submodule(member.module)
        for name, axis in member.tensors:
            tensor = getattr(module, name)
            if isinstance(tensor, Tensor):
                touched.append((tensor, axis, member.index.shape[1]))
    return touched


def _cost_model(
    names: Sequence[str],
    groups: Sequence[ChannelGroup],
    rows: Sequence[tuple[float, float, float]],
    tables: NDArray[np.float64],
    fixed: float,
    found: BranchCosts | None,
) -> CostModel:
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


def count_macs(model: nn.Module, example_input: Inputs) -> int:
    """MACs of one sample through ``model``."""
    return cost_model(model, example_input, (), "macs").total()


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())
