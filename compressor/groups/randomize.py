"""A copy with random statistics, biases and scales in the place of freshly initialised ones, which hide faults."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from compressor.equivalence import Inputs, accepted, outputs
from compressor.errors import CompressorWarning, UsageError
from compressor.hooks import hooked
from compressor.inputs import Examples, random_inputs
from compressor.layer_kinds import NORMS, PRODUCERS
from compressor.precision import FLOAT32_LIMIT, in_precision

# What is smaller than this all over sends next to nothing: of a branch behind it the outputs would tell nothing.
NEGLIGIBLE = 1e-3


def randomized(model: nn.Module, example: Inputs, generator: torch.Generator) -> tuple[nn.Module, Examples]:
    """A copy of ``model`` in float64 with random numbers, and inputs like ``example`` on which it runs.

    These are random, in batches of two where the network takes that. Where its code cannot compute in float64 the copy
    does so in float32, and a `CompressorWarning` says it. `UsageError` when the network does not run at all.
    """
    try:
        return _in_precision(model, example, generator, torch.float64)
    except UsageError as failure:
        found = _in_precision(model, example, generator, torch.float32)
        warnings.warn(
            f"groups were probed in float32, where differences below {FLOAT32_LIMIT:g} of the scale are not seen: "
            f"in float64 {failure}",
            CompressorWarning,
            stacklevel=2,
        )
        return found


def _in_precision(
    model: nn.Module, example: Inputs, generator: torch.Generator, dtype: torch.dtype
) -> tuple[nn.Module, Examples]:
    made = in_precision(model, dtype).eval()
    randomize(made, generator)
    examples = Examples.of(example)
    freely = (random_inputs(examples, generator, batch=2, dtype=dtype, same_shape=kept) for kept in (False, True))
    inputs = accepted(made, freely)
    _enliven(made, inputs, generator)
    return made, inputs


@torch.no_grad()
def _enliven(model: nn.Module, inputs: Examples, generator: torch.Generator) -> None:
    """Give every BatchNorm statistics like those of what it reads, so that signals neither die nor explode."""

    def follow(norm: Any, args: tuple[Tensor, ...]) -> None:
        if not (args and isinstance(norm.running_mean, Tensor) and isinstance(norm.running_var, Tensor)):
            return
        seen = args[0].movedim(1, 0).flatten(1)
        variance, mean = torch.var_mean(seen, 1, correction=0)
        alive = variance > 0
        drawn = [torch.rand(len(mean), generator=generator, dtype=torch.float64).to(mean) + 0.5 for _ in range(2)]
        norm.running_var.copy_(torch.where(alive, variance * drawn[0], norm.running_var))
        norm.running_mean.copy_(torch.where(alive, mean + (drawn[1] - 1) * variance.sqrt(), norm.running_mean))

    norms = [module for module in model.modules() if isinstance(module, NORMS)]
    with hooked(norm.register_forward_pre_hook(follow) for norm in norms):
        outputs(model, inputs)


@torch.no_grad()
def randomize(model: nn.Module, generator: torch.Generator) -> None:
    """Random numbers in every statistic and every parameter that is a vector, and in those that are negligible."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if _is_scale(module, name, parameter):
                _near_one(parameter, generator)
            elif parameter.is_floating_point() and parameter.numel() and float(parameter.abs().max()) < NEGLIGIBLE:
                fan_in = parameter[0].numel() if isinstance(module, PRODUCERS) else 1
                values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.copy_(values / fan_in**0.5)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point() and (name == "bias" or isinstance(module, NORMS)):
                _near_one(buffer, generator)


def _is_scale(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Biases and scales: vectors that no layer multiplies its input with."""
    vector = sum(size > 1 for size in parameter.shape) <= 1
    return vector and parameter.is_floating_point() and not (isinstance(module, PRODUCERS) and name == "weight")


def _near_one(tensor: Tensor, generator: torch.Generator) -> None:
    """Positive and near one, so that variances are valid and signals neither die nor explode."""
    tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5)
