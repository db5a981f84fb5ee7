"""Weights that are exactly zero stay zero while the others are trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.layer_kinds import MAKERS, NORMS, matrices
from compressor.shards import local, rows, sharded


def keep_zeros(model: nn.Module, optimizer: Optimizer, *, whole: nn.Module | None = None) -> RemovableHandle:
    """Reset to zero, after every step, what is zero now: weights, and the biases of wholly zero channels.

    A layer that is zero altogether is free: it was initialised so, for example in a residual branch. Where the
    parameters of ``model`` lie in shards, ``whole`` is the same network with whole ones.
    """
    found = {parameter: mask for parameter, mask in _masks(whole or model) if not bool(mask.all())}
    pairs = zip((whole or model).parameters(), model.parameters(), strict=True)
    masks = {parameter: _here(found[same], parameter) for same, parameter in pairs if same in found}

    @torch.no_grad()
    def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter, mask in masks.items():
            local(parameter).mul_(mask)

    return optimizer.register_step_post_hook(after_step)


def _here(mask: Tensor, parameter: Tensor) -> Tensor:
    return mask[rows(parameter)].to(parameter.device, copy=True) if sharded(parameter) else mask


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
