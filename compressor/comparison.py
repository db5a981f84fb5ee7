"""A network and a smaller one, compared in float64 and in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from compressor.equivalence import Inputs, accepted, output_difference
from compressor.errors import UsageError
from compressor.inputs import Examples, cast, converted, random_inputs
from compressor.precision import FLOAT32_LIMIT, FLOAT64_LIMIT, LOW, in_precision, precisions

RANDOM_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Differences:
    """How far outputs lie apart, relative to their scale; ``float64`` is None where the code computes in float32 only.

    ``float32_limit`` is wider for a network in half precision, in which a bias that takes up a constant is rounded.
    """

    float64: float | None
    float32: float
    float32_limit: float

    @property
    def allowed(self) -> bool:
        """Whether the networks are the same."""
        return (self.float64 is None or self.float64 <= FLOAT64_LIMIT) and self.float32 <= self.float32_limit

    def __str__(self) -> str:
        if self.float64 is None:
            return f"{self.float32:.1e} of their scale in float32 (allowed {self.float32_limit:g})"
        exact = f"{self.float64:.1e} of their scale in float64 (allowed {FLOAT64_LIMIT:g})"
        return f"{exact} and {self.float32:.1e} in float32 (allowed {self.float32_limit:g})"


def exact_copy(model: nn.Module, example: Inputs, real: Inputs | None) -> tuple[nn.Module, list[Examples]]:
    """A copy in float64, or in float32 where its code cannot compute in that, and the inputs that it is compared on.

    These are three random batches like the ``example``, and ``real`` samples when there are any.
    """
    try:
        return _copy_in(torch.float64, model, Examples.of(example), real)
    except UsageError:
        return _copy_in(torch.float32, model, Examples.of(example), real)


def _copy_in(
    dtype: torch.dtype, model: nn.Module, example: Examples, real: Inputs | None
) -> tuple[nn.Module, list[Examples]]:
    made, samples = in_precision(model, dtype), []
    for seed in RANDOM_SEEDS:
        generator = torch.Generator().manual_seed(seed)
        draws = (random_inputs(example, generator, same_shape=kept) for kept in (False, True))
        samples.append(accepted(made, (cast(drawn, dtype) for drawn in draws)))
    return made, [*samples, *([cast(Examples(real, outputs=example.outputs), dtype)] if real is not None else [])]


def differences(exact: float, dense: nn.Module, small: nn.Module, samples: Sequence[Examples]) -> Differences:
    """``exact``, which was found in the precision of ``samples``, and how far apart the networks lie in float32.

    They compute in it as they do by themselves, unless that is another precision.
    """
    native = precisions(dense) <= {torch.float32}
    one, other = (in_precision(model, torch.float32) for model in (dense, small))
    found = furthest(one, other, [(converted if native else cast)(inputs, torch.float32) for inputs in samples])
    limit = max([FLOAT32_LIMIT, *(4 * torch.finfo(kind).eps for kind in precisions(dense) if kind in LOW)])
    if samples[0].precision is torch.float64:
        return Differences(exact, found, limit)
    return Differences(None, max(exact, found), limit)


def furthest(dense: nn.Module, small: nn.Module, samples: Sequence[Examples]) -> float:
    """The largest difference over all ``samples``."""
    return max(output_difference(dense, small, inputs) for inputs in samples)
