"""The statistics of a BatchNorm that follows no fitted layer: they change as much as what it is given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from compressor.reconstruction.readers import Reader


class Statistics:
    """Sums of the numbers of each channel and of their squares, float64."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, torch.zeros(()), torch.zeros(())

    def add(self, given: Tensor) -> None:
        """Count (batch, channels, ...)."""
        rows = given.double().movedim(1, -1).flatten(0, -2)
        self._count += len(rows)
        self._sum, self._squares = self._sum.to(rows) + rows.sum(0), self._squares.to(rows) + rows.square().sum(0)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, (channels,) each."""
        mean = self._sum / self._count
        return mean, (self._squares / self._count - mean.square()).clamp_min(0)


class Restating:
    """A BatchNorm of a network without some channels, as `Fitting` is a layer of one.

    The mean moves by as much, and the variance changes by the factor, by which they differ between the networks on the
    same images: where nothing differs, the statistics stay those of the training.
    """

    def __init__(self, reader: Reader, small: nn.Module, batches: int) -> None:
        self.reader, self._left = reader, batches * reader.calls
        self._norm: Any = small.get_submodule(reader.name)
        self._dense, self._small = Statistics(), Statistics()

    @property
    def read_all(self) -> bool:
        """Whether there is nothing more to read."""
        return self._left == 0

    def want(self, given: Tensor, made: Tensor) -> None:
        """Note what the norm is ``given`` in the dense network."""
        kept = self.reader.kept
        self._dense.add(given if kept is None else given.index_select(1, kept.to(given.device)))

    def read(self, given: Tensor) -> None:
        """Note what it is ``given`` in the other one."""
        self._small.add(given)
        self._left -= 1

    def solve(self) -> None:
        """Change the statistics."""
        restate(self._norm, self._dense.moments(), self._small.moments())


@torch.no_grad()
def restate(norm: Any, dense: tuple[Tensor, Tensor], small: tuple[Tensor, Tensor]) -> None:
    """Let ``norm`` make of inputs of ``small`` mean and variance, (channels,) each, what it made of ``dense`` ones."""
    (mean, variance), (new_mean, new_variance) = dense, small
    factor = torch.where(variance > 0, new_variance / variance, 1.0).to(norm.running_var)
    norm.running_mean.copy_(new_mean.to(factor) - (mean.to(factor) - norm.running_mean) * factor.sqrt())
    norm.running_var *= factor
