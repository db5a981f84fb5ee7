"""From the log ratios of session pairs to a ratio, its interval and a verdict.

Sessions of one and the same model differ from each other (memory layout), so the session pair is the unit of
sampling: the interval is Student's, over one median log ratio per pair.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compressor.records.benchmark import Verdict

PRACTICAL = 0.02  # differences below this are not worth a claim
RULE = (
    "95 % Student t interval over session pairs; faster if it lies below 1 - max(2 %, noise floor), "
    "slower if above 1 + max(2 %, noise floor), same if within 2 % of 1, else inconclusive; "
    "inconclusive also if the control differs from itself"
)


@dataclass(frozen=True, slots=True)
class Interval:
    """A latency ratio and its 95 % confidence interval."""

    ratio: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


def student_cdf(t: float, df: int) -> float:
    """P(T <= t) for ``df`` degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    theta = math.atan(t / math.sqrt(df))
    cosine = math.cos(theta)
    odd = df % 2
    term = total = cosine if odd else 1.0
    for k in range(2 + odd, df - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    sine = math.sin(theta) * total if df > 1 else 0.0
    middle = 2 / math.pi * (theta + sine) if odd else sine
    return (1 + middle) / 2


def student_quantile(p: float, df: int) -> float:
    """The ``t`` with ``student_cdf(t, df) == p``, for ``p`` from 0.5 up, by bisection."""
    low, high = 0.0, 1.0
    while student_cdf(high, df) < p:
        low, high = high, 2 * high
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        if student_cdf(middle, df) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def interval(log_ratios: Sequence[float]) -> Interval:
    """Ratio and 95 % interval from one log ratio per session pair; needs two pairs or more."""
    values = np.asarray(log_ratios)
    centre = float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    reach = student_quantile(0.975, len(values) - 1) * error
    return Interval(*(math.exp(x) for x in (centre, centre - reach, centre + reach)))


def claim(low: float, high: float, noise_floor: float) -> Verdict:
    """What the interval ``[low, high]`` of a latency ratio allows one to claim."""
    margin = max(PRACTICAL, noise_floor)
    if high < 1 - margin:
        return "faster"
    if low > 1 + margin:
        return "slower"
    if low >= 1 - PRACTICAL and high <= 1 + PRACTICAL:
        return "same"
    return "inconclusive"


def control_verdict(control: Interval) -> Verdict:
    """The verdict on a file against itself; "faster" or "slower" means that the run is not to be trusted.

    Its own width is no excuse here, so the noise floor plays no part.
    """
    return claim(control.low, control.high, 0.0)


def differs(stated: Verdict) -> bool:
    """Whether a verdict claims a difference."""
    return stated in ("faster", "slower")


def verdict(variant: Interval, control: Interval) -> Verdict:
    """The verdict on a variant, given the baseline's second copy measured beside it."""
    if differs(control_verdict(control)):
        return "inconclusive"
    return claim(variant.low, variant.high, control.half_width)


def settled(log_ratios: Sequence[Sequence[float]]) -> bool:
    """Whether more pairs could change nothing: rows are the baseline, the variants, and last the control."""
    control = interval(log_ratios[-1])
    variants = [verdict(interval(row), control) for row in log_ratios[1:-1]]
    return "inconclusive" not in variants and not differs(control_verdict(control))
