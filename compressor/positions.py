"""How often layers are applied in a forward pass, and how much work its products are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.architectures.attention import SlimAttention
from compressor.equivalence import Inputs, each, outputs
from compressor.hooks import hooked
from compressor.inputs import Examples, samples_in
from compressor.layer_kinds import ATTENTION, PRODUCERS, TRANSPOSED, channel_axis
from compressor.products import multiplying


def output_positions(model: nn.Module, example_input: Inputs) -> dict[str, float]:
    """At how many places each convolution, linear or recurrent layer is applied for one sample, by name.

    A sample is one of the first example. Attention that reads other tokens than those that ask: the mean over the rows
    of its one weight.
    """
    return work(model, example_input)[0]


@torch.no_grad()
def work(model: nn.Module, example_input: Inputs) -> tuple[dict[str, float], dict[str, float]]:
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
