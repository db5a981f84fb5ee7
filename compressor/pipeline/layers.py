"""What shrinking did to each layer."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from compressor.costs import cost_model
from compressor.groups.graph import PRODUCERS


def layer_changes(dense: nn.Module, small: nn.Module, example_input: Tensor) -> list[dict[str, Any]]:
    """Output channels and MACs of every convolution and linear layer, before and after, as plain data."""
    before, after = (cost_model(model, example_input, (), "macs") for model in (dense, small))
    left = dict(zip(after.layers, after.by_layer(), strict=True))
    return [
        {
            "name": name,
            "before": _width(dense.get_submodule(name)),
            "after": _width(small.get_submodule(name)),
            "macs_before": round(float(macs_before)),
            "macs_after": round(float(left.get(name, 0.0))),
        }
        for name, macs_before in zip(before.layers, before.by_layer(), strict=True)
    ]


def _width(module: nn.Module) -> int:
    """Output channels; 0 of a layer that went with its branch."""
    if not isinstance(module, PRODUCERS):
        return 0
    return int(module.out_features if isinstance(module, nn.Linear) else module.out_channels)
