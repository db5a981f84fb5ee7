"""What a report says first: in a sentence, in a few lines and in a handful of figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from compressor.records import Metric
from compressor.records.benchmark import BenchmarkReport, Comparison
from compressor.records.run import Report, RunReport, Target
from compressor.report.benchmark_tables import comparison_for, stored_bytes
from compressor.report.format import (
    TONES,
    Tone,
    count,
    metric_change,
    metric_value,
    percent,
    plain,
    scientific,
    share,
    size,
    speed,
    speed_interval,
    target_cost,
    verdict,
)

# So many verdicts fit into a headline; more are counted.
FEW = 2


def headline(report: Report) -> str:
    """One honest sentence or two: what was reached, and what was not."""
    return _run_headline(report) if isinstance(report, RunReport) else _benchmark_headline(report)


def finding_lines(report: Report) -> list[str]:
    """The headline, then what was checked or each comparison, one line of plain text each."""
    lines = [headline(report)]
    if isinstance(report, RunReport):
        lines += _check_lines(report)
    elif len(report.comparisons) > FEW:
        lines += map(_comparison_line, report.comparisons)
    return lines


def all_warnings(report: Report) -> list[str]:
    """The warnings of a report and of the benchmark inside it, each once and as one line of plain text."""
    benchmark = benchmark_of(report)
    return list(dict.fromkeys(map(plain, (*report.warnings, *(benchmark.warnings if benchmark else ())))))


def benchmark_of(report: Report) -> BenchmarkReport | None:
    """The benchmark inside a run, or the benchmark itself; None when nothing was timed."""
    return report.benchmark if isinstance(report, RunReport) else report


def final_metric(run: RunReport) -> Metric | None:
    """The metric of the last stage that has one."""
    return next((stage.metric for stage in reversed(run.stages) if stage.metric), None)


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A large value with a name above and a detail below."""

    name: str
    value: str
    detail: str
    tone: Tone = "plain"


def key_figures(run: RunReport) -> Iterator[KeyFigure]:
    """MACs, parameters, size, metric and latency, as far as they were measured."""
    first, last = run.stages[0], run.stages[-1]
    yield _kept("MACs kept", first.macs, last.macs, run.target if run.target and run.target.kind == "macs" else None)
    yield _kept(
        "Parameters kept",
        first.parameters,
        last.parameters,
        run.target if run.target and run.target.kind == "params" else None,
    )
    if bytes_before_after := _sizes(run):
        before, after = bytes_before_after
        yield KeyFigure("Size on disk", share(after, before), f"{size(before)} → {size(after)}")
    if first.metric and (final := final_metric(run)):
        detail = f"{metric_value(first.metric)} → {metric_value(final)}"
        samples = f"{detail}, {final.n} samples" if final.n is not None else detail
        yield KeyFigure(plain(final.name).capitalize(), metric_change(first.metric, final), samples)
    if comparison := main_comparison(run):
        detail = f"CI {speed_interval(comparison)} · batch {comparison.batch}"
        yield KeyFigure("Latency", speed(comparison), detail, TONES[comparison.verdict])


def _kept(name: str, before: int, after: int, target: Target | None) -> KeyFigure:
    value, detail = share(after, before), f"{count(before)} → {count(after)}"
    if target is None:
        return KeyFigure(name, value, detail)
    outcome = f"{detail} · target {percent(target.asked)} {'met' if target.met else 'missed'}"
    return KeyFigure(name, value, outcome, "good" if target.met else "bad")


def _sizes(run: RunReport) -> tuple[int, int] | None:
    """Bytes of the dense and of the final file, where both are known and of the same kind."""
    stored = {one.name: stored_bytes(one.size) for one in run.benchmark.variants} if run.benchmark else {}
    if {"dense", "small"} <= stored.keys():
        return stored["dense"], stored["small"]
    first, last = run.stages[0].size_bytes, run.stages[-1].size_bytes
    return (first, last) if first and last else None


def main_comparison(run: RunReport) -> Comparison | None:
    """The comparison that times what the run ended with, at the first batch size."""
    benchmark = run.benchmark
    if benchmark is None or not benchmark.comparisons:
        return None
    timed = [stage.variant for stage in run.stages if stage.variant]
    return comparison_for(benchmark, timed[-1], benchmark.comparisons[0].batch) if timed else None


def _run_headline(run: RunReport) -> str:
    first, last = run.stages[0], run.stages[-1]
    parts = [
        f"{share(last.macs, first.macs)} of the MACs and "
        f"{share(last.parameters, first.parameters)} of the parameters remain",
        _metric_part(first.metric, final_metric(run)),
        _latency_part(main_comparison(run)),
    ]
    return f"{_target_part(run.target)}{'; '.join(parts)}."


def _metric_part(before: Metric | None, after: Metric | None) -> str:
    if before is None or after is None:
        return "accuracy was not measured"
    change = metric_change(before, after)
    return f"{plain(after.name)} {metric_value(before)} → {metric_value(after)} ({change})"


def _latency_part(comparison: Comparison | None) -> str:
    if comparison is None:
        return "latency was not measured"
    statement = verdict(comparison)
    return f"whether it is faster stays open: {statement}" if comparison.verdict == "inconclusive" else statement


def _target_part(target: Target | None) -> str:
    if target is None or target.met:
        return ""
    asked, reached = percent(target.asked), percent(target.reached)
    return f"Target missed: {asked} of the {target_cost(target)} asked, {reached} reached. "


def _benchmark_headline(benchmark: BenchmarkReport) -> str:
    comparisons = benchmark.comparisons
    if not comparisons:
        names = ", ".join(plain(variant.name) for variant in benchmark.variants)
        return f"{names}: measured alone, nothing to compare with."
    if len(comparisons) <= FEW:
        return " ".join(map(_comparison_line, comparisons))
    outcomes = Counter(comparison.verdict for comparison in comparisons)
    counted = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    return f"{len(comparisons)} comparisons: {counted}."


def _comparison_line(comparison: Comparison) -> str:
    names = f"{plain(comparison.variant)} against {plain(comparison.baseline)}"
    return f"{names}, batch {comparison.batch}: {verdict(comparison)}."


def _check_lines(run: RunReport) -> Iterator[str]:
    if removal := run.removal:
        float64 = f"{scientific(removal.float64)} in float64 (limit {scientific(removal.float64_limit)}) and "
        float32 = f"{scientific(removal.float32)} in float32 (limit {scientific(removal.float32_limit)})."
        yield (
            f"Removing {removal.channels_removed} of {removal.channels_total} channels changed the outputs by "
            f"{'' if removal.float64 is None else float64}{float32}"
        )
    if run.gap is not None:
        yield f"Gap before projection: {scientific(run.gap)} of the weights' norm."
    for export in run.export:
        yield (
            f"ONNX {plain(export.variant)}: differs from PyTorch by {scientific(export.parity.norm_rel)}, "
            f"same top-1 on {percent(export.parity.top1_agreement)}."
        )
    yield from map(plain, run.notes)
