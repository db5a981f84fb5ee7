"""Remove zero channels from a network, compare the outputs, and tell what that did to each layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from torch import nn

from compressor.checkpoints import Network
from compressor.costs import cost_model, count_macs, count_parameters
from compressor.data.feeds import Data
from compressor.equivalence import Inputs
from compressor.groups import ChannelGroup
from compressor.products import is_product
from compressor.records.run import LayerChange
from compressor.records.stages import Shrinking
from compressor.shrinking import remove_zero_channels
from compressor.stages.samples import real_inputs


@dataclass(frozen=True)
class ShrunkNetwork:
    """A network without its zero channels, and the record of their removal."""

    network: Network
    record: Shrinking


def shrink(
    network: Network,
    data: Data | None = None,
    *,
    align: str | int | None = None,
    groups: Sequence[ChannelGroup] | None = None,
) -> ShrunkNetwork:
    """A physically smaller copy of ``network``; outputs are compared on random inputs, and on samples of ``data``.

    ``align`` is what widths are multiples of, by default as when the zeros were made. ``groups`` saves finding them
    again. `EquivalenceError` when an output differs.
    """
    example = network.example_input()
    shrunk = remove_zero_channels(
        network.model,
        example,
        real_inputs=real_inputs(network, data),
        align=align or _align_of(network.metadata.history),
        groups=groups,
    )
    models = network.model, shrunk.model
    record = Shrinking(
        removal=shrunk.removal,
        channels=shrunk.channels,
        macs=(count_macs(models[0], example), count_macs(models[1], example)),
        parameters=(count_parameters(models[0]), count_parameters(models[1])),
        layers=layer_changes(*models, example),
    )
    metadata = network.metadata.with_stage("shrink", **msgspec.to_builtins(shrunk.removal))
    return ShrunkNetwork(Network(shrunk.model, metadata), record)


def layer_changes(dense: nn.Module, small: nn.Module, example_input: Inputs) -> tuple[LayerChange, ...]:
    """Output channels and MACs of every layer with weights, and MACs of products, before and after."""
    before, after = (cost_model(model, example_input, (), "macs") for model in (dense, small))
    left = dict(zip(after.layers, after.by_layer(), strict=True))
    widths = [dict(zip(costs.layers, costs.outputs.tolist(), strict=True)) for costs in (before, after)]
    return tuple(
        LayerChange(
            name=name,
            before=_width(dense, name, widths[0]),
            after=_width(small, name, widths[1]),
            macs_before=round(float(macs_before)),
            macs_after=round(float(left.get(name, 0.0))),
        )
        for name, macs_before in zip(before.layers, before.by_layer(), strict=True)
    )


def _align_of(history: Sequence[Mapping[str, Any]]) -> str:
    """The alignment that the zeros were decided with."""
    return next((str(stage["align"]) for stage in reversed(history) if "align" in stage), "auto")


def _width(model: nn.Module, name: str, widths: Mapping[str, float]) -> int:
    """Output channels; 0 of a layer that went with its branch. ``widths`` are those of parameters without a layer."""
    modules = dict(model.named_modules())
    # A recurrent layer has several weights, each with a name of its own.
    module = modules.get(name, modules.get(name.rpartition(".")[0]))
    match module:
        case nn.Linear():
            return module.out_features
        case nn.RNNBase():
            return module.hidden_size
        case nn.modules.conv._ConvNd():
            return module.out_channels
    return 0 if name in modules or is_product(name) else int(widths.get(name, 0))
