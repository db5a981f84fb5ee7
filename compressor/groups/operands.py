"""Which products of two tensors cost less with each channel of a group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from compressor.channels import ChannelGroup, Product


def products_by_group(
    operands: Mapping[tuple[str, int, int], Tensor], channel: NDArray[np.int64], owner: Mapping[int, ChannelGroup]
) -> dict[str, list[Product]]:
    """By a group's name its products: ``operands`` are the ids along each side of each product.

    ``channel`` is the channel of every id, ``owner`` the group of a channel.
    """
    products: dict[str, list[Product]] = defaultdict(list)
    for (module, number, side), ids in operands.items():
        along = [owner.get(root) for root in channel[ids.numpy()].tolist()]
        for group, places in Counter(group for group in along if group is not None).items():
            products[group.name].append(Product(module, number, side, places / group.channels, len(along)))
    return products
