"""What shrinking did to each layer."""

from __future__ import annotations

from torch import Tensor, nn

from compressor.costs import cost_model
from compressor.records import LayerChange


def layer_changes(dense: nn.Module, small: nn.Module, example_input: Tensor) -> tuple[LayerChange, ...]:
    """Output channels and MACs of every convolution, linear and recurrent layer, before and after."""
    before, after = (cost_model(model, example_input, (), "macs") for model in (dense, small))
    left = dict(zip(after.layers, after.by_layer(), strict=True))
    return tuple(
        LayerChange(
            name=name,
            before=_width(dense, name),
            after=_width(small, name),
            macs_before=round(float(macs_before)),
            macs_after=round(float(left.get(name, 0.0))),
        )
        for name, macs_before in zip(before.layers, before.by_layer(), strict=True)
    )


def _width(model: nn.Module, name: str) -> int:
    """Output channels; 0 of a layer that went with its branch."""
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
    return 0
