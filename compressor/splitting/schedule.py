"""When beta grows, the budget tightens and the selection is revised, as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.errors import UsageError

# The budget reaches its target at this share of the steps, and the selection is revised until then;
# what is left of the training only closes the gap, so that projection costs nothing.
SELECTION = 0.5
REFRESHES = 50
# The pull is implicit, so stable for every step size: it follows this many optimiser steps at once, with the sum of
# their learning rates, and costs that much less.
PULL_EVERY = 2


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Growth of beta over ``total_steps``, and a budget that falls to its target by half time.

    beta grows geometrically from ``beta_start`` to ``beta_end``; with ``growth`` (sigma, steps) it is instead
    ``beta_start`` times sigma after every so many steps.
    """

    total_steps: int
    beta_start: float = 1.0
    beta_end: float = 1000.0
    growth: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        if self.total_steps < 1:
            raise UsageError(f"total_steps must be at least 1, got {self.total_steps}")

    def beta(self, step: int) -> float:
        """Weight of the splitting term at ``step`` (0 .. total_steps)."""
        if self.growth is not None:
            sigma, every = self.growth
            return float(self.beta_start * sigma ** (step // every))
        progress = min(1.0, step / self.total_steps)
        return float(self.beta_start * (self.beta_end / self.beta_start) ** progress)

    def budget(self, step: int, target: float) -> float:
        """Share of the dense cost allowed at ``step``: 1 at the start, ``target`` from half time on."""
        progress = min(1.0, step / (SELECTION * self.total_steps))
        return 1.0 - (1.0 - target) * progress

    def revises(self, step: int) -> bool:
        """Whether the selection is revised at ``step``."""
        last = math.ceil(SELECTION * self.total_steps)
        every = max(1, self.total_steps // REFRESHES)
        return step == last or (step < last and step % every == 0)
