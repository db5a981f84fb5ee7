"""Zero channels that still send something: an activation with f(0) != 0 makes them constant, and a bias can say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.equivalence import Inputs, outputs
from compressor.groups.channels import ChannelGroup

Chosen = Sequence[tuple[ChannelGroup, Sequence[int]]]


Constants = Mapping[str, tuple[list[int], Tensor | None]]

# The weights by which a layer reads what it is given, and the biases beside them. What a recurrent layer reads of its
# own hidden units does not arrive from outside.
READING = {
    "weight": "bias",
    "weight_ih_l0": "bias_ih_l0",
    "weight_ih_l0_reverse": "bias_ih_l0_reverse",
}


@torch.no_grad()
def observed(model: nn.Module, chosen: Chosen, inputs: Inputs) -> tuple[list[Tensor], Constants]:
    """The outputs of ``model``, and for each layer that reads chosen channels their places and what arrives there.

    None when what arrives is not one constant for each channel.
    """
    places: dict[str, set[int]] = defaultdict(set)
    for group, channels in chosen:
        for member in group.members:
            if member.role == "consumer" and READING.keys() & dict(member.tensors).keys():
                places[member.module] |= set(member.index[list(channels)].flatten().tolist())
    ordered = {name: sorted(found) for name, found in places.items()}
    seen: dict[str, list[Tensor | None]] = {name: [] for name in ordered}
    hooks = [model.get_submodule(name).register_forward_pre_hook(_watch(ordered[name], seen[name])) for name in ordered]
    try:
        found = outputs(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found, {name: (ordered[name], _agreed(seen[name])) for name in ordered}


@torch.no_grad()
def fold(model: nn.Module, constants: Constants) -> None:
    """Add what zero channels send to the biases of the layers that read them.

    Only where that is exact: a constant that is the same everywhere, read without zero padding. Elsewhere
    nothing is done, and the proof of equal outputs decides.
    """
    for name, (places, values) in constants.items():
        module = model.get_submodule(name)
        if values is None or not bool(values.any()) or unfoldable(module) is not None:
            continue
        for reader, bias in READING.items():
            if hasattr(module, reader):
                _add(module, bias, getattr(module, reader), places, values)


def _add(module: nn.Module, name: str, reader: nn.Parameter, places: list[int], values: Tensor) -> None:
    weight = reader.detach()
    kernels = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
    added = kernels[:, places] @ values
    old = getattr(module, name)
    trained = reader.requires_grad if old is None else old.requires_grad
    setattr(module, name, nn.Parameter(added if old is None else added + old, trained))


def unfoldable(module: nn.Module) -> str | None:
    """Why a constant that the layer reads cannot go into its bias; None when it can."""
    if isinstance(module, nn.Linear):
        return None
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.groups == 1:
        padded = module.padding != "valid" and module.padding != (0,) * len(module.kernel_size)
        return "zero padding makes it uneven" if padded and module.padding_mode == "zeros" else None
    if isinstance(module, nn.RNNBase):
        return None if module.bias else "it has no bias"
    return "it is no plain convolution or linear layer"


def _watch(places: list[int], seen: list[Tensor | None]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        axis = -1 if isinstance(module, nn.Linear | nn.RNNBase) else 1
        arrived = args[0].movedim(axis, 0)[places].flatten(1)
        same = bool((arrived == arrived[:, :1]).all())
        seen.append(arrived[:, 0].clone() if same else None)

    return hook


def _agreed(seen: Sequence[Tensor | None]) -> Tensor | None:
    first = seen[0] if seen else None
    if first is None or any(other is None or not torch.equal(first, other) for other in seen):
        return None
    return first
