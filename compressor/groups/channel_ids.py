"""Channel ids: numbers that say which entries of which tensors belong to the same channel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Entries that are there whatever is removed.
FIXED = 0


class ChannelIds:
    """Hands out ids, notes which of them are the same channel, and which must not be removed."""

    def __init__(self) -> None:
        self._count = 1
        self._pairs: list[NDArray[np.int64]] = []
        self._blocked: list[tuple[NDArray[np.int64], str]] = []

    def fresh(self, count: int) -> Tensor:
        """``count`` ids that nothing else has: (count,)."""
        self._count += count
        return torch.arange(self._count - count, self._count)

    def union(self, one: Tensor, other: Tensor, reason: str) -> None:
        """Entries at the same place are the same channel; against a fixed one it is blocked for ``reason``."""
        one, other = torch.broadcast_tensors(one, other)  # type: ignore[no-untyped-call]
        for dim in range(one.ndim):
            if one.stride(dim) == 0 == other.stride(dim) and one.shape[dim] > 1:
                one, other = one.narrow(dim, 0, 1), other.narrow(dim, 0, 1)
        low, high = torch.minimum(one, other).flatten(), torch.maximum(one, other).flatten()
        differ = low != high
        code = torch.unique(low[differ] * self._count + high[differ])
        low, high = code // self._count, code % self._count
        self.block(high[low == FIXED], reason)
        known = low > FIXED
        self._pairs.append(torch.stack([low[known], high[known]]).numpy())

    def block(self, ids: Tensor, reason: str) -> None:
        """These channels must not be removed; the first reason given is the one that is told."""
        concerned = distinct(ids)
        if (concerned > FIXED).any():
            self._blocked.append((concerned[concerned > FIXED], reason))

    def resolve(self) -> tuple[NDArray[np.int64], dict[int, str]]:
        """The channel of every id, itself an id, and why channels must not be removed."""
        parent = np.arange(self._count)
        one, other = np.concatenate([np.zeros((2, 0), dtype=np.int64), *self._pairs], axis=1)
        while (parent[one] != parent[other]).any():
            lowest = np.minimum(parent[one], parent[other])
            np.minimum.at(parent, parent[one], lowest)
            np.minimum.at(parent, parent[other], lowest)
            while (parent[parent] != parent).any():
                parent = parent[parent]
        reasons: dict[int, str] = {}
        for ids, reason in self._blocked:
            for channel in np.unique(parent[ids]).tolist():
                reasons.setdefault(channel, reason)
        return parent, reasons


def compact(ids: Tensor) -> Tensor:
    """The same ids with stride 0 along every dimension in which they do not vary."""
    for dim in range(ids.ndim):
        if ids.shape[dim] > 1 and ids.stride(dim) != 0:
            first = ids.narrow(dim, 0, 1)
            # Mostly two neighbours tell already.
            if torch.equal(ids.narrow(dim, 1, 1), first) and bool((ids == first).all()):
                ids = first.expand(ids.shape)
    return ids


def varying(ids: Tensor) -> list[int]:
    """The dimensions along which compact ids vary."""
    return [dim for dim in range(ids.ndim) if ids.shape[dim] > 1 and ids.stride(dim) != 0]


def distinct(ids: Tensor) -> NDArray[np.int64]:
    """Every id of ``ids`` once."""
    once: NDArray[np.int64] = torch.unique(head(ids, *(d for d in range(ids.ndim) if ids.stride(d) == 0))).numpy()
    return once


def along(ids: Tensor, dim: int, ndim: int) -> Tensor:
    """A vector of ids as an array of ``ndim`` dimensions that varies along ``dim``."""
    shape = [1] * ndim
    shape[dim] = -1
    return ids.reshape(shape)


def head(ids: Tensor, *dims: int) -> Tensor:
    """The ids at the first place along ``dims``, which stay as dimensions of size 1."""
    for dim in dims:
        ids = ids.narrow(dim, 0, 1)
    return ids


def line(ids: Tensor, dim: int) -> Tensor:
    """The ids along ``dim``, at the first place along all others, as a vector."""
    return head(ids, *(other for other in range(ids.ndim) if other != dim)).flatten()
