"""Curves of the learning rate: its share of the peak as a training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

WARMUP, LONG_WARMUP = 0.05, 0.3


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _step(share: float) -> float:
    """A tenth from the half, a hundredth from three quarters (He et al., 2016, for CIFAR)."""
    return 0.1 ** ((share >= 0.5) + (share >= 0.75))


def _constant(share: float) -> float:
    return 1.0


@dataclass(frozen=True)
class Schedule:
    """A linear rise over ``warmup`` of all steps, then a ``fall``: the share of the peak at a share of what is left."""

    fall: Callable[[float], float]
    warmup: float = WARMUP


SCHEDULES = {
    "cosine": Schedule(_cosine),
    # Smith and Topin, "Super-convergence", 2018; its momentum, which falls and rises against the rate, stays as it is.
    "one-cycle": Schedule(_cosine, LONG_WARMUP),
    "step": Schedule(_step),
    "constant": Schedule(_constant),
}


def learning_rate_factor(step: int, total: int, schedule: str = "cosine") -> float:
    """The share of the peak learning rate at ``step`` of ``total``; `KeyError` for a schedule not in `SCHEDULES`."""
    known = SCHEDULES[schedule]
    rise = max(1, round(known.warmup * total))
    if step < rise:
        return (step + 1) / rise
    return known.fall((step - rise) / max(1, total - rise))
