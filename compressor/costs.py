"""What a network costs, as a function of how many channels of each group are kept.

Every cost here is bilinear: a layer costs ``per_pair * inputs * outputs``. For MACs, ``per_pair`` counts output
positions times kernel size; 1 MAC = 2 FLOPs, and convolutions, linear and recurrent layers and products with other
parameters count, and products of queries with keys and of weights with values, each a row of its own. For
parameters, every tensor that loses channels is a layer of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.architectures.attention import SlimAttention
from compressor.bare_weights import bare_weights
from compressor.channels import ChannelGroup
from compressor.computed_weights import folded
from compressor.equivalence import Inputs, each, outputs
from compressor.hooks import hooked
from compressor.inputs import Examples, samples_in
from compressor.layer_kinds import ATTENTION, PRODUCERS, TRANSPOSED, channel_axis, matrices
from compressor.products import multiplying, product_name

Kind = Literal["macs", "params"]


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

    def by_layer(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Cost of every layer (layers,) when ``kept`` (groups,) channels stay; all of them by default."""
        gone = np.zeros_like(self.channels) if kept is None else self.channels - np.asarray(kept)
        inputs = self.inputs - self.inputs_per_channel @ gone
        outputs = self.outputs - self.outputs_per_channel @ gone
        return self.per_pair * inputs * outputs

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
    positions, products = _work(model, example_input)
    for name, bare in bare_weights(model, example_input, positions).items():
        row = next((row for row, (_, weight, _) in layers.items() if weight is bare.tensor), name)
        layers.setdefault(row, (row, bare.tensor, bare.axis))
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
    return _cost_model([*layers, *products], groups, rows + made, np.concatenate([tables, more], 1), 0.0)


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
    """One row for every parameter that loses channels, on at most two of its axes."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    touched = [[part for part in _touched(model, group) if part[0] in names] for group in groups]
    axes: dict[Tensor, list[int]] = defaultdict(list)
    for tensor, axis, _ in chain.from_iterable(touched):
        if axis not in axes[tensor]:
            axes[tensor].append(axis)
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
    return _cost_model([names[tensor] for tensor in axes], groups, rows, tables, float(rest))


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
    )


def count_macs(model: nn.Module, example_input: Inputs) -> int:
    """MACs of one sample through ``model``."""
    return cost_model(model, example_input, (), "macs").total()


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def output_positions(model: nn.Module, example_input: Inputs) -> dict[str, float]:
    """At how many places each convolution, linear or recurrent layer is applied for one sample, by name.

    A sample is one of the first example. Attention that reads other tokens than those that ask: the mean over the rows
    of its one weight.
    """
    return _work(model, example_input)[0]


@torch.no_grad()
def _work(model: nn.Module, example_input: Inputs) -> tuple[dict[str, float], dict[str, float]]:
    """The `output_positions`, and by name the MACs of every product of two tensors."""
    positions: dict[str, float] = {}
    products: dict[str, float] = {}
    example = Examples.of(example_input).first
    samples = samples_in(example.calls[0])
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    kind = next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), torch.float32)

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(device, kind if tensor.is_floating_point() else tensor.dtype)

    def add(name: str, entries: float) -> None:
        positions[name] = positions.get(name, 0.0) + entries / samples

    def multiplied(name: str, macs: float) -> None:
        products[name] = macs / samples

    def count(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Any) -> None:
            # A transposed convolution applies its kernel at every input place.
            seen = args[0] if isinstance(module, TRANSPOSED) else tree_leaves(output)[0]
            add(name, seen.numel() / seen.shape[channel_axis(module)])

        return hook

    handles = (
        module.register_forward_hook(_attending(name, add), with_kwargs=True)
        if isinstance(module, ATTENTION)
        else module.register_forward_hook(count(name))
        for name, module in model.named_modules()
        if isinstance(module, PRODUCERS)
    )
    with hooked(handles), multiplying(model, multiplied):
        outputs(model, each(example, cast))
    return positions, products


def _attending(name: str, add: Callable[[str, float], None]) -> Any:
    """A hook that adds the places of the projections of attention, of which torch's own calls no layer."""

    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        tokens = [args[n] if n < len(args) else kwargs[key] for n, key in enumerate(("query", "key"))]
        asking, read = (x.numel() / x.shape[-1] for x in tokens)
        slim = isinstance(module, SlimAttention)
        queries, values = (module.query_width, module.value_width) if slim else (1, 1)
        add(name, (queries * asking + (queries + values) * read) / (2 * queries + values))
        if not slim:
            for weight, places in (("q_proj_weight", asking), ("k_proj_weight", read), ("v_proj_weight", read)):
                add(f"{name}.{weight}", places)
            add(f"{name}.out_proj".lstrip("."), asking)

    return hook
