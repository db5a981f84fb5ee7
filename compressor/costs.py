"""What a network costs, as a function of how many channels of each group are kept.

Every cost here is bilinear: a layer costs ``per_pair * inputs * outputs + per_output * outputs``. For
MACs, ``per_pair`` counts output positions times kernel size; 1 MAC = 2 FLOPs, and only
convolutions and linear layers count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.groups import ChannelGroup
from compressor.groups.graph import NORMS, PRODUCERS
from compressor.proofs import Inputs, each, outputs

Kind = Literal["macs", "params"]
TRANSPOSED = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


@dataclass(frozen=True, eq=False)
class CostModel:
    """Cost of each layer, and of the whole network, for any number of kept channels per group.

    Arrays are (layers,) or (layers, groups): ``inputs_per_channel[l, g]`` is how many inputs layer l
    loses with one channel of group g.
    """

    layers: tuple[str, ...]
    channels: NDArray[np.int64]
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]
    inputs_per_channel: NDArray[np.float64]
    outputs_per_channel: NDArray[np.float64]
    per_pair: NDArray[np.float64]
    per_output: NDArray[np.float64]
    fixed: float

    def by_layer(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Cost of every layer (layers,) when ``kept`` (groups,) channels stay; all of them by default."""
        gone = np.zeros_like(self.channels) if kept is None else self.channels - np.asarray(kept)
        inputs = self.inputs - self.inputs_per_channel @ gone
        outputs = self.outputs - self.outputs_per_channel @ gone
        return self.per_pair * inputs * outputs + self.per_output * outputs

    def total(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> int:
        """Cost of the whole network."""
        return round(float(self.by_layer(kept).sum()) + self.fixed)

    def saved_per_channel(self) -> NDArray[np.float64]:
        """What removing one channel of each group from the full network saves: (groups,)."""
        full = float(self.by_layer().sum())
        one_less = self.channels - np.eye(len(self.channels), dtype=np.int64)
        return np.array([full - float(self.by_layer(kept).sum()) for kept in one_less])


def cost_model(model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup], kind: Kind) -> CostModel:
    """The cost of ``model`` on one sample, in MACs or in parameters, as a function of the groups' channels."""
    counted = PRODUCERS if kind == "macs" else PRODUCERS + NORMS
    layers = {name: module for name, module in model.named_modules() if isinstance(module, counted)}
    positions = output_positions(model, example_input) if kind == "macs" else {}
    rows = [_layer(module, positions.get(name), kind) for name, module in layers.items()]
    inputs_per_channel, outputs_per_channel = np.zeros((2, len(layers), len(groups)))
    places = {name: place for place, name in enumerate(layers)}
    for column, group in enumerate(groups):
        for member in group.members:
            if member.module in places:
                table = inputs_per_channel if member.role == "consumer" else outputs_per_channel
                table[places[member.module], column] += member.index.shape[1]
    inputs, outputs, per_pair, per_output = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    counted_here = float((per_pair * inputs * outputs + per_output * outputs).sum())
    return CostModel(
        layers=tuple(layers),
        channels=np.array([group.channels for group in groups], dtype=np.int64),
        inputs=inputs,
        outputs=outputs,
        inputs_per_channel=inputs_per_channel,
        outputs_per_channel=outputs_per_channel,
        per_pair=per_pair,
        per_output=per_output,
        fixed=count_parameters(model) - counted_here if kind == "params" else 0.0,
    )


def count_macs(model: nn.Module, example_input: Inputs) -> int:
    """MACs of one sample through ``model``."""
    return cost_model(model, example_input, (), "macs").total()


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def output_positions(model: nn.Module, example_input: Inputs) -> dict[str, float]:
    """At how many places each convolution or linear layer is applied for one sample, by name."""
    found: dict[str, float] = {}
    samples = len(tree_leaves(example_input)[0])
    like = next(model.parameters(), torch.zeros(()))

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)

    def count(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            # A transposed convolution applies its kernel at every input place.
            seen = args[0] if isinstance(module, TRANSPOSED) else output
            width = seen.shape[-1] if isinstance(module, nn.Linear) else seen.shape[1]
            found[name] = found.get(name, 0.0) + seen.numel() / width / samples

        return hook

    hooked = [(name, m) for name, m in model.named_modules() if isinstance(m, PRODUCERS)]
    handles = [module.register_forward_hook(count(name)) for name, module in hooked]
    try:
        outputs(model, each(example_input, cast))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _layer(module: nn.Module, positions: float | None, kind: Kind) -> tuple[float, float, float, float]:
    """(inputs, outputs, per_pair, per_output) of one layer; in groups, an output reads the inputs of its group."""
    bias = float(getattr(module, "bias", None) is not None)
    if isinstance(module, NORMS):
        return 1.0, float(module.num_features), 0.0, 2.0 * module.affine
    if isinstance(module, nn.Linear):
        inputs, outputs_, kernel = module.in_features, module.out_features, 1.0
    else:
        assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d | TRANSPOSED)
        inputs = module.in_channels // module.groups
        outputs_ = module.out_channels
        kernel = float(math.prod(module.kernel_size))
    if kind == "macs":
        return float(inputs), float(outputs_), kernel * (positions or 0.0), 0.0
    return float(inputs), float(outputs_), kernel, bias
