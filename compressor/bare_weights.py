"""Weights that a network multiplies with outside of torch's layers: what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.equivalence import Inputs, each, outputs
from compressor.inputs import Examples, samples_in
from compressor.layer_kinds import MAKERS, PRODUCERS, is_matrix

# Where each operation has its two factors.
PRODUCTS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}


@dataclass(frozen=True, eq=False)
class BareWeight:
    """A parameter that makes channels along ``axis``, and the MACs of one sample."""

    tensor: Tensor
    axis: int
    macs: float


@torch.no_grad()
def bare_weights(model: nn.Module, inputs: Inputs, called: Mapping[str, float]) -> dict[str, BareWeight]:
    """Every matrix that is multiplied with by no layer of torch's, by its name.

    ``called`` are the layers that run as such. Without such matrices the network is not run.
    """
    candidates = {name: weight for name, weight in model.named_parameters() if _is_bare(model, name, called)}
    if not candidates:
        return {}
    counting = _Counting({weight: name for name, weight in candidates.items()})
    like = next(model.parameters())
    example = Examples.of(inputs).first
    fitting = each(example, lambda tensor: tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device))
    with counting:
        outputs(model, fitting)
    samples = samples_in(example.calls[0])
    return {
        name: BareWeight(candidates[name], axis, macs / samples)
        for name, (axis, macs) in counting.found.items()
        if candidates[name].ndim > axis
    }


def _is_bare(model: nn.Module, name: str, called: Mapping[str, float]) -> bool:
    """Whether no layer of torch's multiplies with it itself, as far as that is known."""
    holder, _, own = name.rpartition(".")
    module = model.get_submodule(holder)
    if isinstance(module, PRODUCERS) and (holder in called or name in called):
        return False
    return is_matrix(module, own) if not isinstance(module, MAKERS) else own == "weight"


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The MACs of each of these weights, and the axis of what it makes."""

    def __init__(self, names: Mapping[Tensor, str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names
        self.found: dict[str, tuple[int, float]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it multiplies."""
        out = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        if name == "convolution":
            self._convolution(args, out)
        elif name in PRODUCTS:
            one, other = (args[place] for place in PRODUCTS[name])
            self._product(other, -1, out.numel() * one.shape[-1])
            self._product(one, -2, out.numel() * one.shape[-1])
        return out

    def _convolution(self, args: Any, out: Tensor) -> None:
        tensor, weight, transposed, groups = args[0], args[1], args[6], args[8]
        # A transposed convolution applies its kernel at every input place.
        seen = tensor if transposed else out
        axis = int(transposed and groups == 1)
        self._add(weight, axis, weight.numel() * seen.numel() / seen.shape[1])

    def _product(self, weight: Tensor, dim: int, macs: float) -> None:
        base = weight._base if weight._base is not None else weight
        # A view keeps the strides of what it is a view of; which axis it is they tell.
        axes = [axis for axis in range(base.ndim) if base.stride(axis) == weight.stride(dim)]
        self._add(weight, axes[-1] if axes else 0, macs)

    def _add(self, weight: Tensor, axis: int, macs: float) -> None:
        base = weight._base if weight._base is not None else weight
        if base in self._names:
            name = self._names[base]
            self.found[name] = (self.found.get(name, (axis, 0.0))[0], self.found.get(name, (0, 0.0))[1] + macs)
