"""Gates that can fail a build: how far a metric may fall, and what speed-up is required."""

from __future__ import annotations

import math
from collections.abc import Iterator

from compressor.errors import UsageError
from compressor.records import Metric
from compressor.records.run import Report, RunReport
from compressor.report.format import metric_change, plain
from compressor.report.headline import benchmark_of, final_metric


def check_gates(old: Report, new: Report, *, max_drop: float | None, min_speedup: float | None) -> list[str]:
    """One sentence for each gate that ``new`` fails, empty when it passes.

    ``max_drop`` is how much worse than in ``old`` the metric may be, in points for a share (accuracy), else in the
    metric's own unit; ``min_speedup`` is a factor against the baseline that ``new`` was timed with. Both hold only
    if the unfavourable end of the 95 % interval holds; what was not measured fails. `UsageError` for limits that
    are not finite.
    """
    for name, limit in (("--max-drop", max_drop), ("--min-speedup", min_speedup)):
        if limit is not None and not math.isfinite(limit):
            raise UsageError(f"{name} must be a finite number, got {limit}")
    failures: list[str] = []
    if max_drop is not None:
        failures += _drop_failures(old, new, max_drop)
    if min_speedup is not None:
        failures += _speedup_failures(new, min_speedup)
    return failures


def drop_bound(old: Metric, new: Metric) -> float:
    """Upper end of the 95 % interval of how much worse ``new`` is, in points for a share, else in the metric's unit.

    Newcombe's hybrid of the two single intervals: "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, 1998, method 10. Careful when both saw the same samples.
    """
    larger, smaller = (old, new) if new.direction == "higher" else (new, old)
    if larger.ci95 is None or smaller.ci95 is None:
        raise UsageError(f"a bound on the change of {plain(new.name)} needs the intervals of both")
    reach = math.hypot(larger.ci95[1] - larger.value, smaller.value - smaller.ci95[0])
    return (100 if new.unit == "share" else 1) * (larger.value - smaller.value + reach)


def _drop_failures(old: Report, new: Report, max_drop: float) -> Iterator[str]:
    before, after = _metric_with_interval(old), _metric_with_interval(new)
    if before is None or after is None:
        which, known = ("old", after) if before is None else ("new", before)
        name = plain(known.name) if known else "accuracy"
        yield f"max-drop {max_drop:g} cannot be checked: the {which} document has no {name} interval"
    elif (before.name, before.unit, before.direction) != (after.name, after.unit, after.direction):
        names = f"{plain(before.name)} and {plain(after.name)}"
        yield f"max-drop {max_drop:g} cannot be checked: the documents measure {names}"
    elif (bound := drop_bound(before, after)) > max_drop:
        worse, shown = "drop" if after.direction == "higher" else "rise", ".2f" if after.unit == "share" else ".4g"
        yield (
            f"{plain(after.name)} changed by {metric_change(before, after)}, but with {after.n} samples "
            f"a {worse} of up to {bound:{shown}} lies within the 95 % interval; {max_drop:g} is allowed"
        )


def _metric_with_interval(report: Report) -> Metric | None:
    measured = final_metric(report) if isinstance(report, RunReport) else None
    return measured if measured and measured.ci95 else None


def _speedup_failures(new: Report, min_speedup: float) -> Iterator[str]:
    benchmark = benchmark_of(new)
    comparisons = benchmark.comparisons if benchmark else ()
    if not comparisons:
        yield f"the new document has no timed comparison, so min-speedup {min_speedup:g} cannot be checked"
    for comparison in comparisons:
        low = comparison.speedup_ci95[0]
        if low < min_speedup:
            names = f"{plain(comparison.variant)} against {plain(comparison.baseline)}"
            yield (
                f"{names}, batch {comparison.batch}: measured {comparison.speedup:.2f}x as fast, "
                f"but the 95 % interval begins at {low:.2f}x; {min_speedup:g}x is required"
            )
