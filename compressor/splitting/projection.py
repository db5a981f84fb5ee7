"""What `Splitting.project` did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compressor.records import Sparsity
from compressor.splitting.budget import Target


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Figures of a projection; MACs and parameters are (dense, kept) pairs, None where no channel can go."""

    gap: float
    """|W - P(W)| / |W| just before."""
    entries_zeroed: int
    sparsity: Mapping[str, Sparsity]
    """Zeros of W and V just before."""
    channels: Mapping[str, int]
    kept: Mapping[str, int]
    macs: tuple[int, int] | None
    parameters: tuple[int, int] | None
    target: Target | None

    @property
    def reached(self) -> float | None:
        """The share of the dense cost that is left, in the target's own units."""
        pair = self.macs if self.target is not None and self.target.kind == "macs" else self.parameters
        return None if self.target is None or pair is None else pair[1] / pair[0]

    @property
    def met(self) -> bool:
        """Whether the target was met; True without one."""
        return self.target is None or (self.reached is not None and self.reached <= self.target.ratio)
