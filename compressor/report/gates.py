"""Gates that can fail a build: how far a metric may fall, and what speed-up is required."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from compressor.errors import UsageError
from compressor.records import Metric
from compressor.records.run import Gate, Report, RunReport
from compressor.report.drops import drop_gate
from compressor.report.figures import benchmark_of, final_metric
from compressor.report.format import plain


def check_limits(*, max_drop: float | None, min_speedup: float | None) -> None:
    """Raise `UsageError` for a limit that is no finite number, or that cannot fail; call it before any work.

    A negative ``max_drop`` asks for a metric that is better by so much.
    """
    for name, limit in (("--max-drop", max_drop), ("--min-speedup", min_speedup)):
        if limit is not None and not math.isfinite(limit):
            raise UsageError(f"{name} must be a finite number, got {limit}")
    if min_speedup is not None and min_speedup <= 0:
        raise UsageError(f"--min-speedup must be a factor above 0, for example 1.2, got {min_speedup:g}")


def check_gates(old: Report, new: Report, *, max_drop: float | None, min_speedup: float | None) -> tuple[Gate, ...]:
    """Every gate that was asked for, held or not.

    ``max_drop`` is how much worse than in ``old`` the metric may be, in points for a share (accuracy), else in the
    metric's own unit; ``min_speedup`` is a factor against the baseline that ``new`` was timed with. Both hold only
    if the unfavourable end of the 95 % interval holds; what was not measured fails. `UsageError` as `check_limits`,
    `CompressorError` when a report contradicts itself.
    """
    check_limits(max_drop=max_drop, min_speedup=min_speedup)
    before, after = _final_metric(old), _final_metric(new)
    same = _same_network(old, new) and before is not None and after is not None and _agree(before, after)
    return (
        *(
            ()
            if max_drop is None
            else [_drop_gate(before, after, max_drop, ("old document", "new document"), same=same)]
        ),
        *(() if min_speedup is None else _speedup_gates(new, min_speedup)),
    )


def check_run(run: RunReport, *, max_drop: float | None, min_speedup: float | None) -> tuple[Gate, ...]:
    """The same for the network that ``run`` ended with, against the dense one that it began with."""
    check_limits(max_drop=max_drop, min_speedup=min_speedup)
    before, after = run.stages[0].metric, final_metric(run)
    return (
        *(
            ()
            if max_drop is None
            else [_drop_gate(before, after, max_drop, ("dense network", "final network"), same=False)]
        ),
        *(() if min_speedup is None else _speedup_gates(run, min_speedup)),
    )


def compare_gates(
    labelled: Sequence[tuple[str, Report]], *, max_drop: float | None, min_speedup: float | None
) -> tuple[Gate, ...]:
    """The gates between every later report and the first; a run given alone is held against its dense network."""
    (_, old), *later = labelled
    limits = {"max_drop": max_drop, "min_speedup": min_speedup}
    if not later:
        return check_run(old, **limits) if isinstance(old, RunReport) else check_gates(old, old, **limits)
    return tuple(
        replace(gate, measured=f"{plain(label)}: {gate.measured}")
        for label, new in later
        for gate in check_gates(old, new, **limits)
    )


def failures(gates: Iterable[Gate]) -> list[str]:
    """What was measured at the gates that do not hold."""
    return [gate.measured for gate in gates if not gate.holds]


def _drop_gate(
    before: Metric | None, after: Metric | None, limit: float, names: tuple[str, str], *, same: bool
) -> Gate:
    if before is None or before.ci95 is None or after is None or after.ci95 is None:
        missing = names[0] if before is None or before.ci95 is None else names[1]
        known = before or after
        name = plain(known.name) if known else "accuracy"
        return _unknown(limit, f"the {missing} has no {name} interval")
    if (before.name, before.unit, before.direction) != (after.name, after.unit, after.direction):
        return _unknown(limit, f"they measure {plain(before.name)} and {plain(after.name)}")
    return drop_gate(before, after, limit, same=same)


def _unknown(limit: float, why: str) -> Gate:
    return Gate(name="max-drop", limit=limit, holds=False, measured=f"max-drop {limit:g} cannot be checked: {why}")


def _final_metric(report: Report) -> Metric | None:
    return final_metric(report) if isinstance(report, RunReport) else None


def _agree(old: Metric, new: Metric) -> bool:
    """Whether the metrics of one network are the same, as far as they are known sample by sample."""
    known = old.outcomes is not None and new.outcomes is not None
    return (old.value, old.n) == (new.value, new.n) and (not known or old.outcomes == new.outcomes)


def _same_network(old: Report, new: Report) -> bool:
    hashes = _final_hash(old), _final_hash(new)
    return None not in hashes and hashes[0] == hashes[1]


def _final_hash(report: Report) -> str | None:
    """The hash of the file that the final metric was measured on, if it was timed as well."""
    benchmark = benchmark_of(report)
    if not isinstance(report, RunReport) or benchmark is None:
        return None
    final = next((stage for stage in reversed(report.stages) if stage.metric), None)
    return next((one.sha256 for one in benchmark.variants if final and one.name == final.variant), None)


def _speedup_gates(new: Report, limit: float) -> Iterator[Gate]:
    benchmark = benchmark_of(new)
    comparisons = benchmark.comparisons if benchmark else ()
    if not comparisons:
        why = f"the new document has no timed comparison, so min-speedup {limit:g} cannot be checked"
        yield Gate(name="min-speedup", limit=limit, holds=False, measured=why)
    for comparison in comparisons:
        low = comparison.speedup_ci95[0]
        measured = (
            f"{plain(comparison.variant)} against {plain(comparison.baseline)}, batch {comparison.batch}: measured "
            f"{comparison.speedup:.2f}x as fast, {'and' if low >= limit else 'but'} the 95 % interval begins at "
            f"{low:.2f}x; {limit:g}x is required"
        )
        yield Gate(name="min-speedup", limit=limit, holds=low >= limit, measured=measured)
