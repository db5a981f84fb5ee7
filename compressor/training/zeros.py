"""Weights that are exactly zero stay zero while the others are trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.layer_kinds import MAKERS, NORMS, matrices


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
        if isinstance(module, MAKERS):
            for name, axis in matrices(module).items():
                weight, bias = getattr(module, name), getattr(module, name.replace("weight", "bias"), None)
                if bool((weight != 0).any()):
                    found.append((weight, weight != 0))
                    found += _bias(bias, (weight != 0).movedim(axis, 0).flatten(1).any(1))
        elif not isinstance(module, NORMS):
            bare = [weight for weight in module.parameters(recurse=False) if weight.ndim > 1]
            found += [(weight, weight != 0) for weight in bare if bool((weight != 0).any())]
        elif module.weight is not None and module.bias is not None:
            # A norm's scale of zero alone is no dead channel.
            alive = (module.weight != 0) | (module.bias != 0)
            if bool((module.weight != 0).any()):
                found += [(module.weight, alive), (module.bias, alive)]
    return found


def _bias(bias: Tensor | None, alive: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [(bias, alive | (bias != 0))] if bias is not None and len(bias) == len(alive) else []
