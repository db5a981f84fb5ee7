"""Weights that are exactly zero stay zero while the others are trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.groups.channels import output_axis
from compressor.groups.graph import NORMS, PRODUCERS


def keep_zeros(model: nn.Module, optimizer: Optimizer) -> RemovableHandle:
    """Reset to zero, after every step, what is zero now: weights, and the biases of wholly zero channels.

    A layer that is zero altogether is free: it was initialised so, for example in a residual branch.
    """
    masks = {parameter: mask for parameter, mask in _masks(model) if not bool(mask.all())}

    @torch.no_grad()
    def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter, mask in masks.items():
            parameter.mul_(mask)

    return optimizer.register_step_post_hook(after_step)


def _masks(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """For each parameter that can hold zeros, 1 where it may move."""
    found: list[tuple[Tensor, Tensor]] = []
    for module in model.modules():
        if not isinstance(module, PRODUCERS + NORMS) or module.weight is None:
            continue
        weight, bias = module.weight, module.bias
        alive = weight != 0
        if not bool(alive.any()):
            continue
        if isinstance(module, PRODUCERS):
            found.append((weight, alive))
            alive = alive.movedim(output_axis(module), 0).flatten(1).any(1)
        elif bias is not None:
            # A norm's scale of zero alone is no dead channel.
            alive = alive | (bias != 0)
            found.append((weight, alive))
        if bias is not None and len(bias) == len(alive):
            found.append((bias, alive | (bias != 0)))
    return found
