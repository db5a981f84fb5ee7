"""Weights that a network multiplies with outside of torch's layers: what that costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from compressor.equivalence import Inputs, each, outputs
from compressor.hooks import hooked
from compressor.inputs import Examples, samples_in
from compressor.layer_kinds import MAKERS, PRODUCERS, is_matrix
from compressor.teaching import OPERATIONS, Lesson, Operand, lesson_for

# Where each operation has its two factors.
PRODUCTS = {"mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}


@dataclass(frozen=True, eq=False)
class BareWeight:
    """A parameter that makes channels along ``axis``, and the MACs of one sample; whether it is a matrix."""

    tensor: Tensor
    axis: int
    macs: float
    matrix: bool


@torch.no_grad()
def bare_weights(model: nn.Module, inputs: Inputs, called: Mapping[str, float]) -> dict[str, BareWeight]:
    """Every matrix that is multiplied with by no layer of torch's, by its name.

    ``called`` are the layers that run as such. Without such matrices the network is not run.
    """
    taught = bool(OPERATIONS) or any(lesson_for(module) for module in model.modules())
    layers = [module for name, module in model.named_modules() if isinstance(module, PRODUCERS) and name in called]
    # A weight may have another name too, as one of words in and words out.
    counted = {id(weight) for module in layers for weight in module.parameters(recurse=False)}
    candidates = dict(model.named_parameters())
    bare = {name for name, p in candidates.items() if id(p) not in counted and _is_bare(model, name, called)}
    if not bare and not (taught and candidates):
        return {}
    counting = _Counting({weight: name for name, weight in candidates.items()}, bare)
    like = next((p for p in candidates.values() if p.is_floating_point()), next(iter(candidates.values())))
    example = Examples.of(inputs).first
    fitting = each(example, lambda tensor: tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device))
    with counting, hooked(counting.watch(module) for module in model.modules() if lesson_for(module)):
        outputs(model, fitting)
    samples = samples_in(example.calls[0])
    return {
        name: BareWeight(candidates[name], axis, macs / samples, name not in counting.taught)
        for name, (axis, macs) in counting.found.items()
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

    def __init__(self, names: Mapping[Tensor, str], bare: Collection[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names, self._bare = names, bare
        self.found: dict[str, tuple[int, float]] = {}
        self.taught: set[str] = set()
        self._functions: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()

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
        elif name in OPERATIONS:
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self._taught(OPERATIONS[name], list(zip(OPERATIONS[name].operands, tensors, strict=False)))
        elif torch.Tag.pointwise in function.tags and len(args) == 1 and self._own(args[0]):
            self._functions[out] = self._base(args[0])
        return out

    def watch(self, module: nn.Module) -> RemovableHandle:
        """Count what a module costs that was taught."""
        lesson = lesson_for(module)
        assert lesson is not None
        own = [(operand, attrgetter(operand.name)(module)) for operand in lesson.operands if operand.name is not None]

        def hook(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            self._taught(lesson, own + list(zip(lesson.given, tensors, strict=False)))

        return module.register_forward_hook(hook, with_kwargs=True)

    def _taught(self, lesson: Lesson, given: Sequence[tuple[Operand, Tensor]]) -> None:
        """The MACs belong to the parameter with the most of the axes that they are counted along."""
        axes = [(self._base(tensor), operand.at(tensor.ndim) or ()) for operand, tensor in given]
        sizes = {axis: tensor.shape[dim] for tensor, names in axes for dim, axis in enumerate(names)}
        counted = set(lesson.macs)
        own = [(tensor, names) for tensor, names in axes if tensor in self._names and counted & set(names)]
        if own and counted <= sizes.keys():
            tensor, names = max(own, key=lambda pair: len(counted & set(pair[1])))
            axis = next(dim for dim, axis in enumerate(names) if axis in counted)
            self._add(tensor, axis, math.prod(sizes[axis] for axis in lesson.macs))
            self.taught.add(self._names[tensor])

    def _convolution(self, args: Any, out: Tensor) -> None:
        tensor, weight, transposed, groups = args[0], args[1], args[6], args[8]
        # A transposed convolution applies its kernel at every input place.
        seen = tensor if transposed else out
        axis = int(transposed and groups == 1)
        self._multiplied(weight, axis, weight.numel() * seen.numel() / seen.shape[1])

    def _product(self, weight: Tensor, dim: int, macs: float) -> None:
        base = self._base(weight)
        # A view keeps the strides of what it is a view of; which axis it is they tell.
        axes = [axis for axis in range(base.ndim) if base.stride(axis) == weight.stride(dim)]
        self._multiplied(weight, axes[-1] if axes else 0, macs)

    def _multiplied(self, weight: Tensor, axis: int, macs: float) -> None:
        base = self._base(weight)
        if self._names.get(base) in self._bare:
            self._add(base, axis, macs)

    def _own(self, value: Any) -> bool:
        """Whether it is a parameter of the network, a view or a function of one."""
        return isinstance(value, Tensor) and self._base(value) in self._names

    def _base(self, tensor: Tensor) -> Tensor:
        """The parameter that it is a view or a function of, entry by entry."""
        tensor = tensor._base if tensor._base is not None else tensor
        return self._functions.get(tensor, tensor)

    def _add(self, weight: Tensor, axis: int, macs: float) -> None:
        name = self._names[weight]
        first, so_far = self.found.get(name, (axis, 0.0))
        self.found[name] = first, so_far + macs
