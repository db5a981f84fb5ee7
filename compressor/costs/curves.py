"""The measured time of a layer as a function of its widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# All steps up to here are measured, and a few widths above.
DENSE_UP_TO = 64
ABOVE = (0.25, 0.5, 0.75, 1.0)


def grid(width: int, step: int) -> tuple[int, ...]:
    """The widths up to ``width`` that are measured: multiples of ``step``, all of the narrow ones."""
    narrow = range(step, min(width, DENSE_UP_TO) + 1, step)
    wide = [-(-round(width * share) // step) * step for share in ABOVE]
    return tuple(sorted({*narrow, *(min(one, width) for one in wide if one > DENSE_UP_TO), width}))


@dataclass(frozen=True, eq=False)
class Curve:
    """Microseconds (inputs, outputs) of a layer at the widths that were measured; a depthwise one has one row.

    Between them it is bilinear, at the next multiple of ``step``, because the runtime works on blocks of channels.
    """

    inputs: Sequence[int]
    outputs: Sequence[int]
    us: NDArray[np.float64]
    step: int

    def at(self, inputs: float, outputs: float) -> float:
        """The time at these widths, which need not have been measured."""
        if not inputs or not outputs:
            return 0.0
        rows = [float(np.interp(self._block(outputs, self.outputs), self.outputs, row)) for row in self.us]
        return float(np.interp(self._block(inputs, self.inputs), self.inputs, rows)) if len(rows) > 1 else rows[0]

    def _block(self, width: float, measured: Sequence[int]) -> float:
        """The width that costs as much: itself where it was measured, else the end of its block."""
        return width if width in measured else min(-(-width // self.step) * self.step, measured[-1])
