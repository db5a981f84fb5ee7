"""Labels in the order of the network: folders are sorted by name, a network's outputs need not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from compressor.data.samples import DataSet, Samples


def in_order_of(data: DataSet, classes: Sequence[str] | None) -> DataSet:
    """``data`` with its labels counted in the order of ``classes``, the network's own.

    Names decide. When ``classes`` are unknown, or do not hold every name of the data, labels stay as they are.
    """
    if classes is None or tuple(classes) == data.classes or not set(data.classes) <= set(classes):
        return data
    places = torch.tensor([list(classes).index(name) for name in data.classes])

    def moved(samples: Samples) -> Samples:
        return replace(samples, labels=places[samples.labels])

    return replace(data, classes=tuple(classes), train=moved(data.train), val=moved(data.val), test=moved(data.test))
