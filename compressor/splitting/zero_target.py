"""Which single weights are zero when a share of zeros is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressor.channels import ChannelGroup


def surviving(
    model: nn.Module, weights: Sequence[Tensor], groups: Sequence[ChannelGroup], dropped: Sequence[Tensor]
) -> list[Tensor]:
    """Which entries of each weight are left when the ``dropped`` channels are removed: bool, of the weight's shape."""
    masks = {weight: torch.ones_like(weight, dtype=torch.bool) for weight in weights}
    for group, gone in zip(groups, dropped, strict=True):
        for member in group.members:
            module = model.get_submodule(member.module)
            for name, axis in member.tensors:
                tensor = getattr(module, name)
                if isinstance(tensor, Tensor) and tensor in masks:
                    places = member.index[gone].flatten().to(tensor.device)
                    masks[tensor].index_fill_(axis, places, False)
    return list(masks.values())


def share_of_zeros(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> float:
    """The share of zeros among the entries where the masks hold."""
    zeros = sum(int((weight[mask] == 0).sum()) for weight, mask in zip(weights, masks, strict=True))
    return zeros / max(1, sum(int(mask.sum()) for mask in masks))


def threshold_of_share(
    weights: Sequence[Tensor], masks: Sequence[Tensor], units: Mapping[Tensor, float], share: float
) -> float:
    """The size, in units of each weight, up to which that share of the masked entries lies; 0 when none does."""
    sizes = torch.cat([_sizes(weight, units)[mask] for weight, mask in zip(weights, masks, strict=True)])
    count = round(share * len(sizes))
    return float(sizes.kthvalue(min(count, len(sizes))).values) if count else 0.0


def smallest(
    weights: Sequence[Tensor], masks: Sequence[Tensor], units: Mapping[Tensor, float], share: float
) -> list[Tensor]:
    """That share of the masked entries, the smallest ones in units of each weight: bool, of the weight's shape.

    The largest entry of every output and of every input stays, so that no channel is emptied and no layer dies. Of
    entries of one size the first go first.
    """
    free = [mask & ~_largest(weight) for weight, mask in zip(weights, masks, strict=True)]
    sizes = torch.cat([_sizes(weight, units)[mask] for weight, mask in zip(weights, free, strict=True)])
    count = min(len(sizes), round(share * sum(int(mask.sum()) for mask in masks)))
    chosen = torch.zeros(len(sizes), dtype=torch.bool, device=sizes.device)
    chosen[sizes.argsort(stable=True)[:count]] = True
    parts = torch.split(chosen, [int(mask.sum()) for mask in free])
    return [mask.masked_scatter(mask, part) for mask, part in zip(free, parts, strict=True)]


def _sizes(weight: Tensor, units: Mapping[Tensor, float]) -> Tensor:
    return weight.detach().abs().float() / units[weight]


def _largest(weight: Tensor) -> Tensor:
    """The largest entry of each output (axis 0) and of each input (axis 1): bool, of the weight's shape."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for axis in (0, 1):
        rows = weight.detach().abs().transpose(0, axis).flatten(1)
        places = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, rows.argmax(1, keepdim=True), True)
        mask |= places.view(weight.transpose(0, axis).shape).transpose(0, axis)
    return mask
