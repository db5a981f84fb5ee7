"""When beta grows, the budget tightens, the selection is revised and the gap is closed, as functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.errors import UsageError

# The budgets reach their targets at this share of the steps, and the selection is revised until then.
SELECTED = 0.5
# From this share of the steps on W is its projection after every pull, so that the rest of the training is that of the
# projected network; a GradScaler may skip as many steps as are left without a gap.
CLOSED = 0.9
REFRESHES = 50
# The pull is implicit, so stable for every step size: it follows this many optimiser steps at once.
PULL_EVERY = 2


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The course of method budget over ``total_steps`` optimiser steps.

    The unit of time is the whole training, not the learning rate: beta is per training, so that the share by which W
    is pulled, and with it the gap at the end, are the same for every optimiser, learning rate and schedule. beta grows
    geometrically from ``beta_start`` to ``beta_end`` until the gap is closed, and is infinite from then on.
    """

    total_steps: int
    beta_start: float = 1.0
    beta_end: float = 1000.0

    def __post_init__(self) -> None:
        if not isinstance(self.total_steps, int) or self.total_steps < 1:
            raise UsageError(f"total_steps must be at least 1, got {self.total_steps}")

    def beta(self, step: int) -> float:
        """Weight of the splitting term at ``step`` (0 .. total_steps), per training; inf once the gap is closed."""
        if self.closed(step):
            return math.inf
        return float(self.beta_start * (self.beta_end / self.beta_start) ** (step / self.closing_step))

    def closed(self, step: int) -> bool:
        """Whether W is its projection after the pull of ``step``."""
        return step >= self.closing_step

    def span(self, step: int) -> float:
        """The share of the training that a pull at ``step`` stands for: the time since the last; 0 when none is due.

        Once the gap is closed every step is pulled, so that it stays closed wherever the training ends.
        """
        if step > self.closing_step:
            return 1 / self.total_steps
        if step <= 0 or (step % PULL_EVERY and step != self.total_steps):
            return 0.0
        return (step % PULL_EVERY or PULL_EVERY) / self.total_steps

    def budget(self, step: int, target: float) -> float:
        """Share of the dense cost allowed at ``step``: 1 at the start, ``target`` from half time on."""
        return 1.0 - (1.0 - target) * self._towards_selection(step)

    def zeros(self, step: int, target: float) -> float:
        """Share of zero weights asked at ``step``: fast at first, when there are many weights to choose from.

        The cubic ramp of Zhu and Gupta, "To prune, or not to prune", 2017, eq. 1.
        """
        return target * (1.0 - (1.0 - self._towards_selection(step)) ** 3)

    def revises(self, step: int) -> bool:
        """Whether the selection is revised at ``step``; after the last revision it binds."""
        return step == self.last_revision or (
            step < self.last_revision and step % max(1, self.total_steps // REFRESHES) == 0
        )

    @property
    def last_revision(self) -> int:
        """The step of the last revision of the selection."""
        return math.ceil(SELECTED * self.total_steps)

    @property
    def closing_step(self) -> int:
        """The step of the pull that closes the gap: the first from CLOSED of the training on."""
        first = math.ceil(CLOSED * self.total_steps)
        return min(self.total_steps, first + first % PULL_EVERY)

    def _towards_selection(self, step: int) -> float:
        return min(1.0, step / (SELECTED * self.total_steps))


def implicit_share(span: float, beta: float) -> float:
    """How far an implicit step of length ``span`` moves W towards its projection: span beta / (1 + span beta)."""
    return 1.0 if math.isinf(beta) else span * beta / (1 + span * beta)


def prox_step(span: float, beta: float, lam: float) -> float:
    """The step of the prox in an implicit step of length ``span``: lambda (1/beta + span).

    W and V together minimise lambda r(V) + beta/2 |W - V|^2 + |W - W_0|^2 / (2 span): V is the prox of W_0 with this
    step and W = W_0 + k (V - W_0). For an infinite beta it is a proximal gradient step.
    """
    return lam * ((0.0 if math.isinf(beta) else 1 / beta) + span)


def at_least_1(method: str, name: str, value: int | None) -> int:
    """``value``, a number of steps or samples; `UsageError` when it is none."""
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"method {method} needs {name}, at least 1, got {value}")
    return value
