"""Random statistics, biases and scales in the place of freshly initialised ones, which hide faults."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compressor.layer_kinds import NORMS, PRODUCERS

# What is smaller than this all over sends next to nothing: of a branch behind it the outputs would tell nothing.
NEGLIGIBLE = 1e-3


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
