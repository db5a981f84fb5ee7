"""The measured time of a layer as a function of its widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compressor.alignment import Alignment

Array = NDArray[np.float64]

# Blocks up to which all whole ones are measured, and the shares of a wide layer that are measured above.
DENSE_BLOCKS, ABOVE = 4, (0.25, 0.5, 0.75, 1.0)


def grid(width: int, block: int) -> tuple[int, ...]:
    """The widths up to ``width`` that are measured: narrow ones where the staircase has its steps, some wide ones."""
    narrow = [one for one in Alignment(None, block).levels(width) if one <= DENSE_BLOCKS * block]
    wide = [min(width, -(-round(width * share) // block) * block) for share in ABOVE]
    return tuple(sorted({*narrow, *(one for one in wide if one > DENSE_BLOCKS * block), width}))


@dataclass(frozen=True, eq=False)
class Curve:
    """Microseconds (inputs, outputs) of a layer at the widths that were measured; a depthwise one has one row.

    Between them it is bilinear, at the next multiple of ``block``, because the runtime works on blocks of channels.
    """

    inputs: Sequence[int]
    outputs: Sequence[int]
    us: Array
    block: int

    def at(self, inputs: Array, outputs: Array) -> Array:
        """The time at these widths, arrays of one shape that need not have been measured; 0 without any channel."""
        low, high, share = self._between(outputs, self.outputs)
        if len(self.us) == 1:
            times = _mixed(self.us[0][low], self.us[0][high], share)
        else:
            first, last, part = self._between(inputs, self.inputs)
            times = _mixed(
                _mixed(self.us[first, low], self.us[first, high], share),
                _mixed(self.us[last, low], self.us[last, high], share),
                part,
            )
        return np.where((inputs > 0) & (outputs > 0), times, 0.0)

    def bilinear(self) -> tuple[float, float, float, float]:
        """The least squares fit of a constant, inputs, outputs and their product."""
        inputs, outputs = np.meshgrid(self.inputs[: len(self.us)], self.outputs, indexing="ij")
        terms = np.stack([np.ones(self.us.size), inputs.ravel(), outputs.ravel(), (inputs * outputs).ravel()], 1)
        constant, per_input, per_output, per_pair = np.linalg.lstsq(terms, self.us.ravel())[0]
        return float(constant), float(per_input), float(per_output), float(per_pair)

    def _between(self, widths: Array, measured: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """The measured widths on both sides of each, and how far it is from the lower to the upper one."""
        known = np.asarray(measured, dtype=np.float64)
        exact = np.isin(widths, known)
        whole = np.where(exact, widths, np.ceil(widths / self.block) * self.block).clip(known[0], known[-1])
        high = np.searchsorted(known, whole).clip(0, len(known) - 1)
        low = np.where(known[high] == whole, high, (high - 1).clip(0))
        gap = known[high] - known[low]
        return low, high, np.where(gap > 0, (whole - known[low]) / np.where(gap > 0, gap, 1.0), 0.0)


def _mixed(one: Array, other: Array, share: Array) -> Array:
    return one + share * (other - one)
