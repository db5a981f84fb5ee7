"""What zero channels still send: an activation with f(0) != 0 makes it a constant.

It goes into the bias of the layers that read it. What is left of a whole branch is in `branches.py`.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from compressor.channels import ChannelGroup
from compressor.equivalence import Inputs, outputs
from compressor.hooks import hooked
from compressor.layer_kinds import PLAIN_CONVOLUTIONS, PRODUCERS, channel_axis

Chosen = Sequence[tuple[ChannelGroup, Sequence[int]]]
# By layer: the places of its input at which zero channels arrive, and what arrives there (places,), None when that is
# not one constant for each.
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

    What arrives is (places,), or None when it is not one constant for each channel.
    """
    with watching(model, chosen) as arrived:
        results = outputs(model, inputs)
    return results, arrived(chosen)


@contextlib.contextmanager
def watching(model: nn.Module, chosen: Chosen) -> Iterator[Callable[[Chosen], Constants]]:
    """What `observed` says of the chosen channels or some of them, after a forward pass inside the block."""
    places = _read_at(model, chosen)
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in places}

    def arrived(some: Chosen) -> Constants:
        asked = _read_at(model, some)
        at = {
            name: torch.searchsorted(torch.tensor(places[name]), torch.tensor(of_it)) for name, of_it in asked.items()
        }
        return {name: (of_it, _sent(seen[name], at[name])) for name, of_it in asked.items()}

    readers = {name: model.get_submodule(name) for name in places}
    with hooked(
        m.register_forward_pre_hook(_watch(places[name], seen[name]), with_kwargs=True) for name, m in readers.items()
    ):
        yield arrived


def _read_at(model: nn.Module, chosen: Chosen) -> dict[str, list[int]]:
    """By layer that reads chosen channels: their places in its input, in order."""
    places: dict[str, set[int]] = defaultdict(set)
    for group, channels in chosen:
        for member in group.members:
            read = isinstance(model.get_submodule(member.module), PRODUCERS) and member.role == "consumer"
            if read and READING.keys() & dict(member.tensors).keys():
                places[member.module] |= set(member.index[list(channels)].flatten().tolist())
    return {name: sorted(of_it) for name, of_it in places.items()}


@torch.no_grad()
def fold(model: nn.Module, constants: Constants) -> None:
    """Add what zero channels send to the biases of the layers that read them.

    Only where that is exact: a constant that is the same everywhere, read without zero padding. Elsewhere
    nothing is done, and the comparison of outputs decides.
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
    if isinstance(module, PLAIN_CONVOLUTIONS) and module.groups == 1:
        padded = module.padding != "valid" and module.padding != (0,) * len(module.kernel_size)
        return "zero padding makes it uneven" if padded and module.padding_mode == "zeros" else None
    if isinstance(module, nn.RNNBase):
        return None if module.bias else "it has no bias"
    return "it is no plain convolution or linear layer"


def _watch(places: list[int], seen: list[tuple[Tensor, Tensor]]) -> Any:
    """A hook that notes what first arrives at each place, and whether that arrives everywhere."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = (*args, *kwargs.values())[0]
        values = given.data if isinstance(given, PackedSequence) else given
        arrived = values.movedim(channel_axis(module), 0)[places].flatten(1)
        seen.append((arrived[:, 0].clone(), (arrived == arrived[:, :1]).all(1)))

    return hook


def _sent(seen: Sequence[tuple[Tensor, Tensor]], at: Tensor) -> Tensor | None:
    """What has arrived at some of the places, None when that is not one constant for each."""
    if not seen:
        return None
    first = seen[0][0][at]
    same = all(bool(constant[at].all()) and torch.equal(first, values[at]) for values, constant in seen)
    return first if same else None
