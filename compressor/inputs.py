"""What a network is called with, once or several times: any structure of tensors; and which of its outputs count."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from compressor.errors import UsageError
from compressor.structures import Path, containers, mapped, parts, tensors

# One example, or several as `Examples`.
Inputs = Any
# Which outputs count: places or keys in what the network returns ("0", "logits", "aux.0"), or a function of it.
Choice = str | int | Sequence[str | int] | Callable[[Any], Any]

COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64}


class Examples:
    """Several examples of what a network is called with, and which of its outputs count.

    Each example is one call: a tuple holds the positional arguments, a dict those by name, and anything else, a list
    too, is the only argument. They may hold tensors in lists, tuples, dicts and dataclasses; None, numbers and text
    stay as they are. Channels are followed, removed and compared on the paths that all of them take.

    ``outputs`` are places or keys in what the network returns, for example 0, "logits" or ("boxes", "aux.0"),
    or a function that picks what counts; by default every tensor does. Inputs with a ``precision`` are for a copy of
    the network that computes in it.
    """

    def __init__(self, *examples: Any, outputs: Choice | None = None, precision: torch.dtype | None = None) -> None:
        if not examples:
            raise UsageError("Examples needs at least one example of what the network is called with")
        self.calls, self.outputs, self.precision = examples, outputs, precision

    @classmethod
    def of(cls, inputs: Inputs) -> Examples:
        """``inputs`` as examples, which they may be already."""
        return inputs if isinstance(inputs, Examples) else cls(inputs)

    @property
    def first(self) -> Examples:
        """The first example alone."""
        return Examples(self.calls[0], outputs=self.outputs, precision=self.precision)

    def map(self, change: Callable[[Any], Any], precision: torch.dtype | None = None) -> Examples:
        """Every call changed."""
        return Examples(*map(change, self.calls), outputs=self.outputs, precision=precision or self.precision)


def call(model: nn.Module, example: Any) -> Any:
    """``model`` on one example."""
    args, kwargs = arguments(example)
    return model(*args, **kwargs)


def arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional arguments and those by name."""
    if isinstance(example, tuple) and not hasattr(example, "_fields"):
        return example, {}
    if isinstance(example, Mapping) and not dataclasses.is_dataclass(example):
        return (), dict(example)
    return (example,), {}


def named_arguments(model: nn.Module, example: Any) -> dict[str, Any]:
    """Every argument of ``example`` by the name that ``forward`` gives it, in its order; "input" where it has none."""
    args, kwargs = arguments(example)
    parameters = inspect.signature(model.forward).parameters
    plain = [name for name, one in parameters.items() if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    names = [*plain[: len(args)], *(f"input_{place}" for place in range(len(plain), len(args)))]
    order = {name: place for place, name in enumerate(parameters)}
    by_name = dict(zip(names, args, strict=True)) | kwargs
    return {name: by_name[name] for name in sorted(by_name, key=lambda name: order.get(name, -1))}


def each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same inputs with every tensor changed."""
    if isinstance(inputs, Examples):
        return inputs.map(lambda example: mapped(example, change))
    return mapped(inputs, change)


def converted(inputs: Inputs, dtype: torch.dtype) -> Examples:
    """``inputs`` on the CPU with floating-point numbers of ``dtype``, complex ones as wide."""
    kinds = {torch.complex64: COMPLEX[dtype], torch.complex128: COMPLEX[dtype]}

    def change(tensor: Tensor) -> Tensor:
        return tensor.cpu().to(dtype if tensor.is_floating_point() else kinds.get(tensor.dtype, tensor.dtype))

    given = Examples.of(each(inputs, change))
    return Examples(*given.calls, outputs=given.outputs)


def cast(inputs: Inputs, dtype: torch.dtype) -> Examples:
    """The same for a copy of the network that is made to compute in ``dtype``, whatever its code asks for."""
    return converted(inputs, dtype).map(lambda example: example, dtype)


def batch_of(example: Any) -> int | None:
    """The size of the batch, where all tensors agree on it: the first axis of each; else None.

    Tensors in a list are samples of their own, whose first axis is none of a batch.
    """
    args, kwargs = arguments(example)
    sizes = {len(tensor) for _, tensor in tensors((args, kwargs)) if tensor.ndim}
    return (
        sizes.pop()
        if len(sizes) == 1 and 0 not in sizes and not any(isinstance(value, list) for value in containers(args))
        else None
    )


def samples_in(example: Any) -> int:
    """How many samples one call has: its batch, the items of a list, else the first axis of the first tensor."""
    batch = batch_of(example)
    if batch is not None:
        return max(batch, 1)
    lists = [len(value) for value in containers(arguments(example)[0]) if isinstance(value, list)]
    first = [len(tensor) for _, tensor in tensors(arguments(example)) if tensor.ndim]
    return max([1, *(lists or first)[:1]])


def random_inputs(
    example: Inputs,
    generator: torch.Generator,
    *,
    batch: int | None = None,
    dtype: torch.dtype | None = None,
    same_shape: bool = False,
) -> Inputs:
    """Normal random numbers, (batch, ...) for each tensor (n, ...) of the ``example``, on the CPU.

    What is not a number, say a word, comes from the example's samples in random order, the same for all tensors, each
    once before any comes twice. Without ``batch`` there are as many as in the example, and at least two. Where tensors
    do not agree on a batch, or with ``same_shape``, shapes and everything but numbers stay as in the example; so do
    tensors without an axis, and sparse ones. ``dtype`` is float32 when it is not given; `Examples` get it as their
    precision.
    """

    def draw(one: Any) -> Any:
        return _drawn(one, generator, batch, dtype or torch.float32, None if same_shape else batch_of(one))

    return example.map(draw, dtype) if isinstance(example, Examples) else draw(example)


def _drawn(example: Any, generator: torch.Generator, batch: int | None, dtype: torch.dtype, given: int | None) -> Any:
    @cache
    def order(count: int) -> Tensor:
        return torch.randperm(count, generator=generator)

    def draw(tensor: Tensor) -> Tensor:
        if not tensor.ndim or tensor.layout is not torch.strided:
            return tensor.cpu().to(dtype) if tensor.is_floating_point() else tensor.cpu()
        rows = len(tensor) if given is None else batch or max(2, given)
        if tensor.is_floating_point():
            return torch.randn(rows, *tensor.shape[1:], generator=generator, dtype=dtype)
        return tensor.cpu() if given is None else tensor.cpu()[order(given)[torch.arange(rows) % given]]

    return mapped(example, draw)


def described(model: nn.Module, example: Any) -> str:
    """What ``model`` is called with, in words: ``ids 2x128:int64, mask 2x128:bool``."""
    named = [*tensors(named_arguments(model, example))]
    return ", ".join(f"{'.'.join(map(str, path))} {_sized(tensor)}" for path, tensor in named)


def _sized(tensor: Tensor) -> str:
    shape = "x".join(map(str, tensor.shape)) or "number"
    return shape if tensor.dtype is torch.float32 else f"{shape}:{str(tensor.dtype).removeprefix('torch.')}"


def chosen(result: Any, outputs: Choice | None) -> list[tuple[Path, Tensor]]:
    """The tensors in what a network returns that count, each with its path; `UsageError` where there is none."""
    if outputs is None or callable(outputs):
        counted = [*tensors(result if outputs is None else outputs(result))]
    else:
        keys = [outputs] if isinstance(outputs, str | int) else outputs
        counted = [found for key in keys for found in _at(result, str(key))]
    if not counted:
        raise UsageError(f"the network returns no tensor whose channels could be followed ({_described(result)})")
    return counted


def _at(result: Any, key: str) -> list[tuple[Path, Tensor]]:
    """The tensors at a dotted path of keys and places."""
    found, path = result, Path()
    for part in key.split("."):
        held = parts(found)
        known = {str(name): name for name, _ in held}
        place = int(part) if part.isdecimal() and len(part) < 9 else len(held)
        if part not in known and place >= len(held):
            raise UsageError(f"--outputs {key}: the network returns {_described(result)}")
        step = known.get(part, held[place][0] if place < len(held) else part)
        found, path = dict(held)[step], (*path, step)
    return [*tensors(found, path)]


def _described(result: Any) -> str:
    kind = type(result).__name__
    held = parts(result)
    return f"a {kind} of {', '.join(str(name) for name, _ in held[:8])}" if held else f"a {kind}"
