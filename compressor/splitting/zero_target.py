"""Which single weights are zero when a share of zeros is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressor.groups import ChannelGroup


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
    sizes = torch.cat(
        [weight.detach()[mask].abs().float() / units[weight] for weight, mask in zip(weights, masks, strict=True)]
    )
    count = round(share * len(sizes))
    return float(sizes.kthvalue(min(count, len(sizes))).values) if count else 0.0
