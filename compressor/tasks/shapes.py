"""Whether what a network returns and what a batch holds belong together."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from compressor.errors import DataError


def shape_of(value: Any) -> str:
    """``8x3x32x32``, or what it is where it is no tensor."""
    return "x".join(map(str, value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def same_shape(outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Both as floating-point tensors of one shape; (samples,) and (samples, 1) are the same. `DataError` for others."""
    tensors = isinstance(outputs, Tensor) and isinstance(targets, Tensor)
    if not tensors or outputs.shape[:1] != targets.shape[:1] or outputs.numel() != targets.numel():
        raise DataError(f"the network returns {shape_of(outputs)}, and the batch has targets of {shape_of(targets)}")
    return outputs, targets.to(outputs.dtype).view_as(outputs)
