"""Plain filter norms as a saliency, and the proof by example that they mean nothing in front of BatchNorm.

A filter in front of BatchNorm can be scaled at will: the normalisation undoes it, no output changes. A saliency that
sees the scale ranks channels by an accident of training.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor import Splitting
from compressor.checkpoints import Network
from compressor.equivalence import output_difference
from compressor.errors import CompressorWarning
from compressor.groups import ChannelGroup, find_groups, is_zero
from compressor.splitting import Projection

# Filters are scaled by 2**u, u uniform in +-OCTAVES: up to a factor of 4 either way.
OCTAVES = 2.0

# What was compared, and what it is called in `compressor.saliency.SALIENCIES`.
SALIENCIES = {"ours": "weights", "plain norms": "magnitude"}


@torch.no_grad()
def rescale(model: nn.Module, groups: Sequence[ChannelGroup], generator: torch.Generator) -> None:
    """Scale every filter of ``groups`` in front of a BatchNorm at random, and its statistics with it."""
    for member in (member for group in groups for member in group.members):
        if member.role == "producer" and member.feeds is not None:
            module, norm = model.get_submodule(member.module), model.get_submodule(member.feeds)
            factors = 2 ** (OCTAVES * (2 * torch.rand(len(norm.running_mean), generator=generator) - 1))
            module.weight.mul_(factors.view([-1] + [1] * (module.weight.ndim - 1)))
            if module.bias is not None:
                module.bias.mul_(factors)
            norm.running_mean.mul_(factors)
            # Exact in spite of epsilon: what is divided by is the root of the variance and epsilon.
            norm.running_var.add_(norm.eps).mul_(factors.square()).sub_(norm.eps)


def survivors(network: Network, groups: Sequence[ChannelGroup], target: float, name: str) -> tuple[nn.Module, Tensor]:
    """A one-shot projection by that saliency, and which channels of all groups it kept."""
    model = copy.deepcopy(network.model)
    options = {"groups": groups, "target_macs": target, "saliency": SALIENCIES[name]}
    project(Splitting(model, network.example_input(), total_steps=1, **options))
    return model, torch.cat([~is_zero(model, group) for group in groups if group.prunable])


def project(splitting: Splitting) -> Projection:
    """Project, with the gap open where that is what is measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressorWarning)
        return splitting.project()


def rescaling(
    network: Network, target: float, draws: int, accuracy: Callable[[nn.Module], float]
) -> list[dict[str, Any]]:
    """What random scales of filters change, for each saliency: one entry a draw in the lists.

    ``accuracy`` judges a projected network, and may change it.
    """
    groups = find_groups(network.model, network.example_input())
    which = {"of prunable channels": [group for group in groups if group.prunable], "all": list(groups)}
    results = []
    for what, scaled in which.items():
        others = [_rescaled(network, scaled, seed) for seed in range(draws)]
        moved = max(_difference(network, other) for other in others)
        for name in SALIENCIES:
            model, kept = survivors(network, groups, target, name)
            after = [survivors(other, groups, target, name) for other in others]
            results.append(
                {
                    "scaled": what,
                    "saliency": name,
                    "moved": moved,
                    "kept": int(kept.sum()),
                    "accuracy": accuracy(model),
                    "replaced": [int((kept & ~found).sum()) for _, found in after],
                    "accuracies": [accuracy(projected) for projected, _ in after],
                }
            )
    return results


def _rescaled(network: Network, groups: Sequence[ChannelGroup], seed: int) -> Network:
    model = copy.deepcopy(network.model)
    rescale(model, groups, torch.Generator().manual_seed(seed))
    return network.with_model(model)


def _difference(one: Network, other: Network) -> float:
    first, second = (copy.deepcopy(network.model).double() for network in (one, other))
    return output_difference(first, second, one.example_input().double())
