"""Curves of the learning rate: its share of the peak as a training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable

WARMUP = 0.05


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * share))


def _step(share: float) -> float:
    """A tenth from the half, a hundredth from three quarters (He et al., 2016, for CIFAR)."""
    return 0.1 ** ((share >= 0.5) + (share >= 0.75))


def _constant(share: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {"cosine": _cosine, "step": _step, "constant": _constant}
"""By name, the share of the peak at a share of what comes after the warm-up."""


def learning_rate_factor(step: int, total: int, schedule: str = "cosine", warmup: float = WARMUP) -> float:
    """The share of the peak learning rate at ``step``: a linear rise over ``warmup`` of all, then the schedule.

    `KeyError` for a schedule that is none of `SCHEDULES`.
    """
    rise = max(1, round(warmup * total))
    if step < rise:
        return (step + 1) / rise
    return SCHEDULES[schedule]((step - rise) / max(1, total - rise))
