"""How much one metric differs from another, with the 95 % interval of the difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compressor.errors import CompressorError
from compressor.records import Interval, Metric
from compressor.report.drops import drop_bound
from compressor.report.format import metric_change, metric_step
from compressor.report.paired import drawn_interval, paired_interval, pairs_of

Basis = Literal["same samples", "independent samples", "unknown"]


@dataclass(frozen=True)
class Change:
    """From ``before`` to ``after``; ``interval`` is that of the difference, in points for a share, else in its unit."""

    before: Metric
    after: Metric
    interval: Interval | None
    basis: Basis

    @property
    def is_noise(self) -> bool:
        """Whether no difference at all lies within the interval; False where it is unknown."""
        return self.interval is not None and self.interval[0] <= 0 <= self.interval[1]

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies on the worse side."""
        if self.interval is None:
            return False
        low, high = self.interval
        return high < 0 if self.after.direction == "higher" else low > 0

    @property
    def text(self) -> str:
        """``−0.56 points``."""
        return metric_change(self.before, self.after)

    @property
    def interval_text(self) -> str:
        """``−1.67 to +0.56``; empty where it is unknown."""
        return " to ".join(metric_step(bound, self.after) for bound in self.interval) if self.interval else ""

    @property
    def brief(self) -> str:
        """``−0.56 points (within noise: CI −1.67 to +0.56)``, and what is known less well."""
        if self.interval is None:
            return f"{self.text} (interval unknown)"
        return f"{self.text} ({'within noise: ' if self.is_noise else ''}CI {self.interval_text})"


def change_of(before: Metric | None, after: Metric | None) -> Change | None:
    """None where one was not measured, or they measure different things.

    On the same samples the interval knows which of them each network got right (`paired_interval`), or what it makes of
    samples that are drawn again (`drawn_interval`); without that it takes them as independent, which makes it wider.
    """
    if before is None or after is None or not _comparable(before, after):
        return None
    try:
        pairs, drawn = pairs_of(before, after), drawn_interval(before, after)
    except CompressorError:  # a report that contradicts itself has no interval; the gates refuse it
        return Change(before, after, None, "unknown")
    if pairs is not None and pairs.n > 0:
        low, high = paired_interval(pairs)
        return Change(before, after, (-100 * high, -100 * low), "same samples")
    if drawn is not None:
        scale = 100 if after.unit == "share" else 1
        return Change(before, after, (scale * drawn[0], scale * drawn[1]), "same samples")
    if before.ci95 is None or after.ci95 is None:
        return Change(before, after, None, "unknown")
    worst, best = drop_bound(before, after), drop_bound(after, before)
    interval = (-worst, best) if after.direction == "higher" else (-best, worst)
    return Change(before, after, interval, "independent samples")


def _comparable(before: Metric, after: Metric) -> bool:
    return (before.name, before.unit, before.direction) == (after.name, after.unit, after.direction)
