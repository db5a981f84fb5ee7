"""When are two networks the same? Their outputs are compared on sampled inputs, here for all that need it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from compressor.wrappers import eagerly

# In float64 rounding cannot hide a fault; in float32 it reaches about 1e-6 of the output scale.
FLOAT64_LIMIT = 1e-9
FLOAT32_LIMIT = 1e-5

# What a network is called with: one tensor, several in order, or several by name.
Inputs = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


def relative_difference(expected: Tensor, actual: Tensor) -> float:
    """Largest absolute difference over the largest absolute expected value; inf when shapes differ or on NaN."""
    if expected.shape != actual.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    difference = (expected - actual).abs().max().item()
    scale = expected.abs().max().item()
    if not math.isfinite(difference) or not math.isfinite(scale):
        return math.inf
    if difference == 0:
        return 0.0
    return difference / scale if scale > 0 else math.inf


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into eval mode, and every one of its modules back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def call(model: nn.Module, inputs: Inputs) -> Any:
    """``model`` on one tensor, on a tuple of them, or on tensors by name."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    return model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)


def each(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """The same inputs with every tensor changed."""
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {name: change(tensor) for name, tensor in inputs.items()}
    return tuple(change(tensor) for tensor in inputs)


def random_inputs(
    example: Inputs, generator: torch.Generator, *, batch: int | None = None, dtype: torch.dtype = torch.float32
) -> Inputs:
    """Normal random numbers, (batch, ...) for each tensor (n, ...) of the ``example``, on the CPU.

    What is not a number, say a word, comes from the example's samples in random order, the same for all tensors, each
    once before any comes twice. Without ``batch`` there are as many as in the example, and at least two.
    """

    @cache
    def order(count: int) -> Tensor:
        return torch.randperm(count, generator=generator)

    def draw(tensor: Tensor) -> Tensor:
        rows = batch or max(2, len(tensor))
        if tensor.is_floating_point():
            return torch.randn(rows, *tensor.shape[1:], generator=generator, dtype=dtype)
        return tensor.cpu()[order(len(tensor))[torch.arange(rows) % len(tensor)]]

    return each(example, draw)


@contextlib.contextmanager
def _slow_attention() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@torch.no_grad()
def outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """All output tensors of ``model`` in eval mode, whatever structure it returns; its mode is restored.

    Without torch's fast path of attention, which is one opaque operation and may turn batches into nested tensors.
    """
    with eval_mode(model), _slow_attention(), eagerly():
        return [leaf for leaf in tree_leaves(call(model, inputs)) if isinstance(leaf, Tensor)]


def output_difference(expected: nn.Module, actual: nn.Module, inputs: Inputs) -> float:
    """Largest relative difference over all outputs of two networks on the same inputs."""
    pairs = list(zip(outputs(expected, inputs), outputs(actual, inputs), strict=True))
    return max(relative_difference(one, other) for one, other in pairs)
