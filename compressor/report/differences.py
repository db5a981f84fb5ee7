"""What each report ends with, beside what the first one ends with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from compressor.records import Interval, Metric, Record
from compressor.records.benchmark import Comparison
from compressor.records.run import Report, RunReport
from compressor.report.benchmark_tables import stored_bytes
from compressor.report.change import Change, change_of
from compressor.report.figures import benchmark_of, final_metric, main_comparison
from compressor.report.format import TONES, count, metric_title, metric_value, percent, plain, short_verdict, size
from compressor.report.headline import headline, speed_part
from compressor.report.table import Cell, Column, Table, row, without_holes

Labelled = Sequence[tuple[str, Report]]
RUN_REPORT = "report.json"
CAPTION = (
    "Each latency is against the dense network or baseline of the same report, measured in turns with it; "
    "times of different reports are not compared."
)


class Difference(Record, frozen=True, kw_only=True):
    """The last network of a report beside that of the first, ``base``.

    ``metric_change`` with ``ci95`` is in points for a share, else in the metric's unit; ``macs``, ``parameters`` and
    ``size`` are ratios. None is what one of the two reports does not know.
    """

    label: str
    base: str
    metric_change: float | None = None
    ci95: Interval | None = None
    basis: str = ""
    macs: float | None = None
    parameters: float | None = None
    size: float | None = None


class Ending(Record, frozen=True, kw_only=True):
    """What a report ends with: the last network of a run, the last variant of a benchmark."""

    label: str
    metric: Metric | None
    macs: int | None
    parameters: int | None
    size_bytes: int | None
    comparison: Comparison | None


def labels(paths: Sequence[Path]) -> list[str]:
    """Reports of runs by their folder, others by their file, with as much of the path as tells them apart."""
    places = [path.absolute().parent if path.name == RUN_REPORT else path.absolute().with_suffix("") for path in paths]
    depth, deepest = 1, max(len(place.parts) for place in places)
    while len({place.parts[-depth:] for place in places}) < len(set(places)) and depth < deepest:
        depth += 1
    named = ["/".join(place.parts[-depth:]) for place in places]
    return [name if name not in named[:i] else f"{name} ({named[:i].count(name) + 1})" for i, name in enumerate(named)]


def endings(labelled: Labelled) -> list[Ending]:
    """One for each report."""
    return [_ending(label, report) for label, report in labelled]


def differences(labelled: Labelled) -> tuple[Difference, ...]:
    """One for each report but the first."""
    base, *others = endings(labelled)
    return tuple(_difference(base, other) for other in others)


def difference_lines(labelled: Labelled) -> list[str]:
    """``b against a: accuracy −0.28 points (within noise: ...), 66.7 % of the MACs, ...``, a line a later report."""
    base, *others = endings(labelled)
    return [f"{plain(other.label)} against {plain(base.label)}: {'; '.join(_parts(base, other))}." for other in others]


def comparison_headline(labelled: Labelled) -> str:
    """The difference between two reports, the headline of one alone, and of more how many they are."""
    if len(labelled) == 1:
        return headline(labelled[0][1])
    lines = difference_lines(labelled)
    return lines[0] if len(lines) == 1 else f"{len(lines)} reports against {plain(labelled[0][0])}."


def comparison_notes(labelled: Labelled) -> list[str]:
    """What the headline leaves out: every difference where there are several, and the headline of each report."""
    lines = difference_lines(labelled)
    told = [f"{plain(label)}: {headline(report)}" for label, report in labelled]
    return [*(lines if len(lines) > 1 else []), *(told if len(labelled) > 1 else [])]


def difference_table(labelled: Labelled) -> Table:
    """One row per report; what differs is beside the first."""
    base, *others = endings(labelled)
    columns = (
        Column("Report", numeric=False, wraps=True),
        Column(metric_title(one.metric for one in (base, *others)), spare=1),
        Column(f"Against {plain(base.label)}", numeric=False),
        Column("MACs", spare=3),
        Column("Params", spare=5),
        Column("Size", spare=4),
        Column("Latency [95 % CI]", numeric=False),
    )
    rows = [_cells(base, None), *(_cells(other, _change(base, other)) for other in others)]
    return without_holes(Table("Differences", columns, tuple(rows), CAPTION))


def _ending(label: str, report: Report) -> Ending:
    benchmark = benchmark_of(report)
    if isinstance(report, RunReport):
        last = report.stages[-1]
        stored = {one.name: stored_bytes(one.size) for one in benchmark.variants} if benchmark else {}
        return Ending(
            label=label,
            metric=final_metric(report),
            macs=last.macs,
            parameters=last.parameters,
            size_bytes=stored.get(last.variant or "", last.size_bytes),
            comparison=main_comparison(report),
        )
    variant = report.variants[-1] if report.variants else None
    timed = [one for one in report.comparisons if variant and one.variant == variant.name]
    return Ending(
        label=label,
        metric=None,
        macs=variant.macs if variant else None,
        parameters=variant.parameters if variant else None,
        size_bytes=stored_bytes(variant.size) if variant else None,
        comparison=timed[0] if timed else None,
    )


def _difference(base: Ending, other: Ending) -> Difference:
    change = _change(base, other)
    scale = 100 if other.metric is not None and other.metric.unit == "share" else 1
    return Difference(
        label=other.label,
        base=base.label,
        metric_change=scale * (change.after.value - change.before.value) if change else None,
        ci95=change.interval if change else None,
        basis=change.basis if change else "",
        macs=_ratio(base.macs, other.macs),
        parameters=_ratio(base.parameters, other.parameters),
        size=_ratio(base.size_bytes, other.size_bytes),
    )


def _parts(base: Ending, other: Ending) -> Iterator[str]:
    change = _change(base, other)
    yield f"{plain(change.after.name)} {change.brief}" if change else "no metric that both measured"
    for name, *pair in (("MACs", base.macs, other.macs), ("file size", base.size_bytes, other.size_bytes)):
        if (ratio := _ratio(*pair)) is not None:
            yield f"the same {name}" if ratio == 1 else f"{percent(ratio)} of the {name}"
    if base.comparison and other.comparison:
        yield f"beside its dense network {speed_part(other.comparison)}, before {speed_part(base.comparison)}"


def _cells(one: Ending, change: Change | None) -> tuple[Cell, ...]:
    timed = one.comparison
    return row(
        one.label,
        metric_value(one.metric) if one.metric else "",
        f"{change.text} [{change.interval_text or 'interval unknown'}]" if change else "",
        count(one.macs),
        count(one.parameters),
        size(one.size_bytes),
        Cell(short_verdict(timed), TONES[timed.verdict]) if timed else "",
    )


def _change(base: Ending, other: Ending) -> Change | None:
    return change_of(base.metric, other.metric)


def _ratio(before: int | None, after: int | None) -> float | None:
    return after / before if before and after is not None else None
