"""From ``--input`` and ``--example`` to what a network is called with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.cli.parsing import InputSpec
from compressor.errors import UsageError
from compressor.limits import check_memory

if TYPE_CHECKING:
    from torch import Tensor

    from compressor.inputs import Examples, Inputs


def example_of(specs: Sequence[InputSpec], files: Sequence[Path]) -> Examples | None:
    """What the options say that the network is called with; None when they say nothing, `UsageError` for both."""
    from compressor.checkpoints.examples import read_example
    from compressor.inputs import Examples

    if specs and files:
        raise UsageError("--input draws an example at random and --example reads one; give one of them")
    if specs:
        return Examples(_drawn(specs))
    return Examples(*map(read_example, files)) if files else None


def _drawn(specs: Sequence[InputSpec]) -> Inputs:
    import torch

    names = [spec.name for spec in specs]
    if len(set(names)) != len(names) and None not in names:
        raise UsageError(f"--input {next(name for name in names if names.count(name) > 1)} is given twice")
    if None in names and set(names) != {None}:
        raise UsageError("--input must name every input or none, got both")
    needed = sum(8 * math.prod(spec.shape) for spec in specs)
    check_memory(needed, "--input", kind=UsageError)
    generator = torch.Generator().manual_seed(0)
    tensors = [_draw(spec, generator) for spec in specs]
    if names == [None]:
        return tensors[0]
    return tuple(tensors) if None in names else {str(name): x for name, x in zip(names, tensors, strict=True)}


def _draw(spec: InputSpec, generator: object) -> Tensor:
    import torch

    assert isinstance(generator, torch.Generator)
    kind: torch.dtype = getattr(torch, spec.dtype)
    if kind.is_floating_point:
        return torch.randn(spec.shape, generator=generator).to(kind)
    if spec.high > (limit := 1 if kind is torch.bool else torch.iinfo(kind).max):
        raise UsageError(f"--input goes up to {spec.high}, and {spec.dtype} to {limit}")
    return torch.randint(spec.low, spec.high + 1, spec.shape, generator=generator).to(kind)
