"""The layers of a network as the runtime sees them: what it is asked to do, without the widths."""

from __future__ import annotations

from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from compressor.equivalence import Inputs, outputs
from compressor.hooks import hooked
from compressor.inputs import Examples, samples_in
from compressor.layer_kinds import CONVOLUTIONS, TRANSPOSED
from compressor.records.costs import MOST_COPIES, Layer


@torch.no_grad()
def layers_of(model: nn.Module, example_input: Inputs) -> dict[str, list[Layer]]:
    """By module: the layer of each of its calls, for convolutions and linear layers that can be timed by themselves.

    Left out are other modules, convolutions in several groups unless they are depthwise, and padding with
    anything but zeros.
    """
    found: dict[str, list[Layer]] = {}
    example = Examples.of(example_input).first
    samples = samples_in(example.calls[0])
    weights = sum(parameter.numel() for parameter in model.parameters())

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            layer = layer_of(module, args[0], samples)
            if layer is not None:
                own = sum(parameter.numel() for parameter in module.parameters())
                copies = min(MOST_COPIES, max(1, round(weights / max(1, own))))
                found.setdefault(name, []).append(replace(layer, copies=copies))

        return hook

    kinds = (nn.Linear, *CONVOLUTIONS)
    with hooked(m.register_forward_hook(watch(name)) for name, m in model.named_modules() if isinstance(m, kinds)):
        outputs(model, example)
    return found


def layer_of(module: nn.Module, given: Tensor, samples: int) -> Layer | None:
    """The layer that ``module`` is for what it is ``given``; None for one that is not timed by itself."""
    if isinstance(module, nn.Linear):
        return Layer(kind="linear", size=(max(1, given.numel() // given.shape[-1] // samples),))
    assert isinstance(module, CONVOLUTIONS)
    depthwise = module.groups == module.in_channels == module.out_channels and module.groups > 1
    padding = module.padding
    if isinstance(padding, str) or module.padding_mode != "zeros" or (module.groups > 1 and not depthwise):
        return None
    transposed = isinstance(module, TRANSPOSED)
    return Layer(
        kind="transposed" if transposed else "depthwise" if depthwise else "convolution",
        size=tuple(given.shape[2:]),
        kernel=tuple(module.kernel_size),
        strides=tuple(module.stride),
        padding=tuple(padding),
        dilations=tuple(module.dilation),
        output_padding=tuple(module.output_padding) if transposed else (),
    )
