"""When are two networks the same? Their outputs are compared on sampled inputs, here for all that need it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from compressor.errors import UsageError, first_line
from compressor.hooks import running
from compressor.inputs import Examples, Inputs, call, chosen, each, random_inputs
from compressor.precision import FLOAT32_LIMIT, FLOAT64_LIMIT, computed_in
from compressor.structures import Path, tensors
from compressor.wrappers import eagerly

__all__ = [
    "FLOAT32_LIMIT",
    "FLOAT64_LIMIT",
    "Inputs",
    "accepted",
    "all_outputs",
    "call",
    "each",
    "eval_mode",
    "named_outputs",
    "output_difference",
    "outputs",
    "outputs_with_graph",
    "random_inputs",
    "relative_difference",
]


def relative_difference(expected: Tensor, actual: Tensor) -> float:
    """Largest absolute difference over the largest absolute expected value; inf when shapes differ or on NaN."""
    if expected.shape != actual.shape:
        return math.inf
    if not expected.numel():
        return 0.0
    if not (expected.is_floating_point() or expected.is_complex()):
        expected, actual = expected.double(), actual.double()
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


@contextlib.contextmanager
def _slow_attention() -> Iterator[None]:
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextlib.contextmanager
def _same_draws() -> Iterator[None]:
    """Networks that draw random numbers draw the same ones in every run; on the CPU, where networks are compared."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@torch.no_grad()
def outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """The output tensors of ``model`` in eval mode that count, of all examples; its mode is restored.

    Without torch's fast path of attention, which is one opaque operation and may turn batches into nested tensors.
    `UsageError` when the network returns no tensor, or not what the examples say counts.
    """
    return [tensor for _, tensor in named_outputs(model, inputs)]


@torch.no_grad()
def named_outputs(model: nn.Module, inputs: Inputs) -> list[tuple[Path, Tensor]]:
    """The same with the keys and places by which each is reached in what the network returns."""
    return _chosen(model, inputs)


@torch.enable_grad()
def outputs_with_graph(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """`outputs`, each with the operations that made it (``grad_fn``)."""
    return [tensor for _, tensor in _chosen(model, inputs)]


def _chosen(model: nn.Module, inputs: Inputs) -> list[tuple[Path, Tensor]]:
    examples = Examples.of(inputs)
    with eval_mode(model), _slow_attention(), _same_draws(), eagerly(), computed_in(examples.precision):
        return [found for one in examples.calls for found in chosen(call(model, one), examples.outputs)]


@torch.no_grad()
def all_outputs(model: nn.Module, inputs: Inputs) -> list[Tensor]:
    """Every tensor that ``model`` returns in the mode that it is in, whatever counts."""
    examples = Examples.of(inputs)
    with computed_in(examples.precision):
        return [tensor for one in examples.calls for _, tensor in tensors(call(model, one))]


def accepted(model: nn.Module, draws: Iterable[Examples]) -> Examples:
    """The first of ``draws`` on which ``model`` runs; `UsageError` says why it does not run on the last one."""
    failure, place = Exception(), ""
    for inputs in draws:
        try:
            with running(model) as modules:
                outputs(model, inputs)
        except UsageError:
            raise
        except Exception as error:  # whatever the network's code raises on inputs that it did not expect
            failure, place = error, f" in {modules[-1][0]}" if modules and modules[-1][0] else ""
        else:
            return inputs
    raise UsageError(
        f"the network does not run on its example{place} ({type(failure).__name__}: {first_line(failure)})"
    ) from failure


def output_difference(expected: nn.Module, actual: nn.Module, inputs: Inputs) -> float:
    """Largest relative difference over all outputs of two networks on the same inputs."""
    pairs = list(zip(outputs(expected, inputs), outputs(actual, inputs), strict=True))
    return max(relative_difference(one, other) for one, other in pairs)
