"""Test and validation parts in the proportions of the classes, the same on every machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from compressor.data.reader import Parts
from compressor.data.samples import Samples

TEST_FRACTION = 0.2


def split(parts: Parts, *, val_fraction: float, seed: int) -> tuple[Samples, Samples, Samples]:
    """Give train, val and test: parts that the data bring are kept, others are drawn from train.

    The test part is drawn first, so it depends on the data and ``seed`` only.
    """
    train, val, test = parts.train, parts.val, parts.test
    if test is None:
        test, train = _draw(train, TEST_FRACTION, seed)
    if val is None:
        val, train = _draw(train, val_fraction, seed)
    return train, val, test


def subset(samples: Samples, count: int, *, seed: int) -> Samples:
    """At most ``count`` samples, in the proportions of the classes."""
    return samples.take(_stratified(samples.labels, count, seed)[0])


def _draw(samples: Samples, fraction: float, seed: int) -> tuple[Samples, Samples]:
    count = max(1, round(fraction * len(samples))) if fraction else 0
    drawn, rest = _stratified(samples.labels, count, seed)
    return samples.take(drawn), samples.take(rest)


def _stratified(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of ``count`` samples and of the others, both in random order."""
    stream = np.random.PCG64(seed)
    candidates, order = _permutation(len(labels), stream), _permutation(len(labels), stream)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[candidates[_positions(labels[candidates]).argsort(stable=True)[:count]]] = True
    # In the order of the candidates the rest would begin with the class that was full first.
    return order[chosen[order]], order[~chosen[order]]


def _positions(labels: Tensor) -> Tensor:
    """Where each sample stands within its class of n, from 0.5/n to 1 - 0.5/n: any cut is proportional."""
    by_class = labels.argsort(stable=True)
    sizes = labels.bincount()
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(labels)
    rank[by_class] = torch.arange(len(labels)) - starts[labels[by_class]]
    return (rank + 0.5) / sizes[labels]


def _permutation(count: int, stream: np.random.PCG64) -> Tensor:
    # The raw stream is the one that numpy promises never to change; its permutations are not.
    return torch.from_numpy(stream.random_raw(count).argsort(kind="stable"))
