"""How much worse one metric may be than another, by the samples that they were measured on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compressor.errors import UsageError
from compressor.records import Metric
from compressor.records.run import Gate
from compressor.report.format import metric_change, plain
from compressor.report.paired import drawn_interval, paired_interval, pairs_of, samples_needed


@dataclass(frozen=True)
class Drop:
    """How much worse a metric may be: the upper end of its 95 % interval, in points for a share, else in its unit."""

    bound: float
    on: str
    """The samples, in words."""
    needed: int | None
    """So many samples of this kind would show that the limit holds; None if none would."""


def drop_gate(before: Metric, after: Metric, limit: float, *, same: bool) -> Gate:
    """Whether ``after`` is worse than ``before`` by at most ``limit``; both must have an interval.

    The ``same`` network passes by identity.
    """
    if same:
        measured = f"{plain(after.name)} is that of the same network, byte for byte: no change; {limit:g} is allowed"
        return Gate(name="max-drop", limit=limit, holds=limit >= 0, measured=measured)
    drop = find_drop(before, after, limit)
    holds = drop.bound <= limit  # not the other way round: no figure compares with NaN
    measured = (
        f"{plain(after.name)} changed by {metric_change(before, after)}, {'and' if holds else 'but'} {drop.on} "
        f"{_drop(drop.bound, after)} lies within the 95 % interval; {limit:g} is allowed"
    )
    return Gate(name="max-drop", limit=limit, holds=holds, measured=measured if holds else measured + _advice(drop))


def find_drop(before: Metric, after: Metric, limit: float) -> Drop:
    """On the same samples by those that only one of the two got right, or by sets of them that are drawn again.

    Else as if they were independent.
    """
    if pairs := pairs_of(before, after):
        differing = f"{pairs.lost + pairs.won:,.0f}"
        return Drop(
            bound=100 * paired_interval(pairs)[1],
            on=f"with the same {pairs.n:,} samples, of which {differing} are right in only one of the two,",
            needed=samples_needed(pairs, limit / 100),
        )
    change = worse_by(before, after)
    if drawn := drawn_interval(before, after):
        bound = max(_scale(after) * (end if after.direction == "lower" else -end) for end in drawn)
        return Drop(
            bound=bound,
            on=f"with the same {_count(after.n)} samples, of which sets were drawn again,",
            needed=_independent_samples(bound - change, limit - change, after.n),
        )
    known = before.outcomes is not None and after.outcomes is not None
    why = "they differ" if known else "single outcomes are not stored"
    bound = drop_bound(before, after)
    return Drop(
        bound=bound,
        on=f"with {_count(after.n)} samples, taken as independent because {why},",
        needed=_independent_samples(bound - change, limit - change, after.n),
    )


def drop_bound(old: Metric, new: Metric) -> float:
    """The bound of a `Drop` between independent samples.

    Newcombe's hybrid of the two single intervals: "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, 1998, method 10. Careful when both saw the same samples.
    """
    larger, smaller = (old, new) if new.direction == "higher" else (new, old)
    if larger.ci95 is None or smaller.ci95 is None:
        raise UsageError(f"a bound on the change of {plain(new.name)} needs the intervals of both")
    reach = math.hypot(larger.ci95[1] - larger.value, smaller.value - smaller.ci95[0])
    return worse_by(old, new) + _scale(new) * reach


def _independent_samples(reach: float, slack: float, n: int | None) -> int | None:
    """The reach of an interval falls with the root of the number of samples."""
    if n is None or not slack > 0 or not math.isfinite(needed := n * (reach / slack) ** 2):
        return None
    return math.ceil(needed)


def _advice(drop: Drop) -> str:
    if drop.needed is None:
        return "; more samples will not help, because what was measured is not below that"
    return f"; to show that much takes about {drop.needed:,} samples"


def worse_by(old: Metric, new: Metric) -> float:
    """How much worse ``new`` is, in points for a share, else in its unit; less than 0 where it is better."""
    larger, smaller = (old, new) if new.direction == "higher" else (new, old)
    return _scale(new) * (larger.value - smaller.value)


def _scale(metric: Metric) -> float:
    return 100 if metric.unit == "share" else 1


def _drop(bound: float, metric: Metric) -> str:
    worse, shown = "drop" if metric.direction == "higher" else "rise", ".2f" if metric.unit == "share" else ".4g"
    return f"a {worse} of up to {bound:{shown}}"


def _count(number: int | None) -> str:
    return "an unknown number of" if number is None else f"{number:,}"
