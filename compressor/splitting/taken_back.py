"""Changes to parameters that last as long as a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


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
