"""Which single weights are zero when a share of zeros is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compressor.channels import ChannelGroup
from compressor.shards import before_here, cut, local, places_here, summed, whole

# A float32 of at least 0 is ordered as its bits are; they are counted by halves.
HALF = 16


def surviving(
    model: nn.Module, weights: Sequence[Tensor], groups: Sequence[ChannelGroup], dropped: Sequence[Tensor]
) -> list[Tensor]:
    """Which entries of each weight are left when the ``dropped`` channels are removed.

    bool, of the shape of what this rank holds of the weight.
    """
    masks = {weight: torch.ones_like(local(weight), dtype=torch.bool) for weight in weights}
    for group, gone in zip(groups, dropped, strict=True):
        for member in group.members:
            module = model.get_submodule(member.module)
            for name, axis in member.tensors:
                tensor = getattr(module, name)
                if isinstance(tensor, Tensor) and tensor in masks:
                    masks[tensor].index_fill_(axis, places_here(member.index[gone].flatten(), tensor, axis), False)
    return list(masks.values())


def share_of_zeros(weights: Sequence[Tensor], masks: Sequence[Tensor]) -> float:
    """The share of zeros among the entries where the masks hold."""
    zeros = [(local(weight)[mask] == 0).sum() for weight, mask in zip(weights, masks, strict=True)]
    return total(zeros, weights) / max(1, total([mask.sum() for mask in masks], weights))


def total(counts: Sequence[Tensor], weights: Sequence[Tensor]) -> int:
    """The sum of ``counts``, what each rank has counted in the rows of each of ``weights`` that it holds."""
    return sum(int(count) for count in summed(counts, weights))


def threshold_of_share(
    weights: Sequence[Tensor], masks: Sequence[Tensor], units: Mapping[Tensor, float], share: float
) -> float:
    """The size, in units of each weight, up to which that share of the masked entries lies; 0 when none does."""
    count = round(share * total([mask.sum() for mask in masks], weights))
    if not count:
        return 0.0
    sizes = torch.cat([_sizes(weight, units)[mask] for weight, mask in zip(weights, masks, strict=True)])
    bits, _ = _kth(sizes, count, weights[0])
    return float(torch.tensor(bits, dtype=torch.int32).view(torch.float32))


def smallest(
    weights: Sequence[Tensor], masks: Sequence[Tensor], units: Mapping[Tensor, float], share: float
) -> list[Tensor]:
    """That share of the masked entries, the smallest ones in units of each weight: bool, of the shape of the masks.

    The largest entry of every output and of every input stays, so that no channel is emptied and no layer dies. Of
    entries of one size the first go first.
    """
    free = [mask & ~local(cut(_largest(whole(w.detach())), w)) for w, mask in zip(weights, masks, strict=True)]
    most, asked = (total([mask.sum() for mask in some], weights) for some in (free, masks))
    count = min(most, round(share * asked))
    if not count:
        return [torch.zeros_like(mask) for mask in free]
    sizes = [_sizes(weight, units) for weight in weights]
    last, left = _kth(torch.cat([size[mask] for size, mask in zip(sizes, free, strict=True)]), count, weights[0])
    ties = [mask & (_bits(size) == last) for size, mask in zip(sizes, free, strict=True)]
    earlier = before_here(torch.stack([tied.sum() for tied in ties]), weights[0]).tolist()
    first = [
        tied & (tied.flatten().cumsum(0).view_as(tied) + before <= left)
        for tied, before in zip(ties, earlier, strict=True)
    ]
    return [mask & (_bits(size) < last) | some for size, mask, some in zip(sizes, free, first, strict=True)]


def _sizes(weight: Tensor, units: Mapping[Tensor, float]) -> Tensor:
    return local(weight).detach().abs().float() / units[weight]


def _bits(sizes: Tensor) -> Tensor:
    return sizes.view(torch.int32)


def _kth(sizes: Tensor, count: int, weight: Tensor) -> tuple[int, int]:
    """The bits of the ``count``-th smallest size of all ranks, and how many of that size are among so many.

    ``sizes`` (n,) float32, at least 0, are those of this rank, which holds ``weight`` as it holds the others.
    """
    bits, found = _bits(sizes), 0
    for shift in (HALF, 0):
        halves = (bits >> shift) & (2**HALF - 1)
        (counts,) = summed([torch.bincount(halves, minlength=2**HALF)], [weight])
        up_to = counts.cumsum(0)
        half = int((up_to < count).sum())
        count -= int(up_to[half] - counts[half])
        bits, found = bits[halves == half], found << HALF | half
    return found, count


def _largest(weight: Tensor) -> Tensor:
    """The largest entry of each output (axis 0) and of each input (axis 1): bool, of the weight's shape."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    for axis in (0, 1):
        rows = weight.detach().abs().transpose(0, axis).flatten(1)
        places = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, rows.argmax(1, keepdim=True), True)
        mask |= places.view(weight.transpose(0, axis).shape).transpose(0, axis)
    return mask
