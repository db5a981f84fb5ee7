"""What networks are run on while they are fitted and compared: many samples, cut into calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from compressor.inputs import batch_of, each, samples_in
from compressor.structures import mapped, tensors


class Given:
    """Samples in one call, which can be cut anywhere, or in several, which stay as they are."""

    def __init__(self, *calls: Any) -> None:
        self._calls = joined(calls)
        self._whole = len(self._calls) == 1 and batch_of(self._calls[0]) is not None

    @classmethod
    def of(cls, inputs: Any) -> Given:
        """``inputs`` as given, which they may be already; a tensor is one call."""
        return inputs if isinstance(inputs, Given) else cls(inputs)

    def __len__(self) -> int:
        return sum(map(samples_in, self._calls))

    @property
    def single(self) -> bool:
        """Whether it is one call, whatever its size."""
        return len(self._calls) == 1

    def cut(self, at: int) -> tuple[Given, Given | None]:
        """The first ``at`` samples and the others, None where there are none; of several calls whole ones."""
        if self._whole:
            call = self._calls[0]
            first = Given(_slice(call, 0, at))
            return first, Given(_slice(call, at, None)) if len(self) > at else None
        taken = 1
        while taken < len(self._calls) and sum(map(samples_in, self._calls[: taken + 1])) <= at:
            taken += 1
        others = self._calls[taken:]
        return Given(*self._calls[:taken]), Given(*others) if others else None

    def map(self, change: Callable[[Any], Any]) -> Given:
        """Every call changed."""
        return Given(*map(change, self._calls))

    def split(self, size: int) -> Sequence[Any]:
        """Calls of at most ``size`` samples; several calls are taken as they are."""
        if not self._whole:
            return self._calls
        return [_slice(self._calls[0], at, at + size) for at in range(0, len(self), size)]


def _slice(call: Any, start: int, stop: int | None) -> Any:
    return each(call, lambda tensor: tensor[start:stop] if tensor.ndim else tensor)


def joined(calls: Sequence[Any]) -> Sequence[Any]:
    """One call of the samples of all, where their tensors fit together; else the calls as they are."""
    parts = [[*tensors(call)] for call in calls]
    shapes = [[(path, tensor.shape[1:], tensor.dtype) for path, tensor in part] for part in parts]
    alike = all(one == shapes[0] for one in shapes) and all(tensor.ndim for part in parts for _, tensor in part)
    if len(calls) < 2 or not alike or any(batch_of(call) is None for call in calls):
        return calls
    columns = iter(
        [torch.cat(column) for column in zip(*([tensor for _, tensor in part] for part in parts), strict=True)]
    )

    def of_all(_: Tensor) -> Tensor:
        return next(columns)

    return [mapped(calls[0], of_all)]
