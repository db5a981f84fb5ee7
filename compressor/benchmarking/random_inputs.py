"""Inputs for models whose data nobody has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressor.benchmarking.onnx_file import Input


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
