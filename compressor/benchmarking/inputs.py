"""Random inputs that fit a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.errors import UsageError


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a graph; a first dimension of None is the batch."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def check_batch(file: str, inputs: Sequence[Input], batch: int) -> None:
    """Raise `UsageError` when the batch of ``file`` is fixed at another size."""
    for entry in inputs:
        if entry.shape and entry.shape[0] not in (None, batch):
            raise UsageError(
                f"{file}: the batch of input {entry.name!r} is fixed at {entry.shape[0]}, so batch {batch} "
                "cannot be timed; export with a dynamic batch"
            )


def random_inputs(inputs: Sequence[Input], *, batch: int, seed: int) -> dict[str, NDArray[Any]]:
    """Draw N(0, 1) for floating-point inputs, 0 to 9 for integers and coin flips for booleans."""
    generator = np.random.default_rng(seed)
    return {
        entry.name: _draw(generator, np.dtype(entry.dtype), [batch if n is None else n for n in entry.shape])
        for entry in inputs
    }


def _draw(generator: np.random.Generator, dtype: np.dtype[Any], shape: Sequence[int]) -> NDArray[Any]:
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 2 if dtype.kind == "b" else 10, size=shape).astype(dtype)
