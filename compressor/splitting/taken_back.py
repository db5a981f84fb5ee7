"""Changes to parameters that last as long as a block, and how large they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from compressor.shards import local, summed


@contextmanager
@torch.no_grad()
def taken_back(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield copies of ``parameters``, which have their values again, to the bit, when the block ends."""
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        yield before
    finally:
        for parameter, old in zip(parameters, before, strict=True):
            parameter.copy_(old)


def relative_change(parameters: Sequence[Tensor], before: Sequence[Tensor]) -> float:
    """|W - W_0| / |W_0| of all ``parameters`` W together, ``before`` W_0; 0 when nothing has changed."""
    pairs = [(local(parameter), local(old)) for parameter, old in zip(parameters, before, strict=True)]
    lost = _total([(part - old).double().square().sum() for part, old in pairs], parameters)
    whole = _total([old.double().square().sum() for _, old in pairs], parameters)
    return float((lost / whole) ** 0.5) if lost else 0.0


def _total(sums: Sequence[Tensor], parameters: Sequence[Tensor]) -> float:
    return sum(float(part) for part in summed(sums, parameters))
