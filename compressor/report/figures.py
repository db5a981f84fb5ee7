"""The figures that decide: what is left of the dense network, and how much worse it became."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from compressor.records import Metric
from compressor.records.benchmark import BenchmarkReport, Comparison, Latency, Variant
from compressor.records.run import Report, RunReport, TargetKind
from compressor.report.benchmark_tables import comparison_for, first_timing, stored_bytes
from compressor.report.change import Basis, Change, change_of
from compressor.report.format import (
    BYTES,
    COUNTS,
    TONES,
    UNKNOWN,
    Tone,
    in_one_unit,
    metric_title,
    metric_value,
    milliseconds,
    percent,
    share,
    short_verdict,
)
from compressor.report.table import Cell, Column, Table, row, without_holes
from compressor.report.targets import targets_of

BASES: dict[Basis, str] = {
    "same samples": "samples, the same for both",
    "independent samples": "samples, taken as independent",
    "unknown": "samples",
}


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """One quantity ``before`` and ``after``; ``value`` is what is left of it or how it changed, ``basis`` what on."""

    name: str
    value: str
    before: str
    after: str
    detail: str = ""
    basis: str = ""
    tone: Tone = "plain"


def benchmark_of(report: Report) -> BenchmarkReport | None:
    """The benchmark inside a run, or the benchmark itself; None when nothing was timed."""
    return report.benchmark if isinstance(report, RunReport) else report


def final_metric(run: RunReport) -> Metric | None:
    """The metric of the last stage that has one."""
    return next((stage.metric for stage in reversed(run.stages) if stage.metric), None)


def main_comparison(run: RunReport) -> Comparison | None:
    """The comparison that times what the run ended with, at the first batch size."""
    benchmark = run.benchmark
    if benchmark is None or not benchmark.comparisons:
        return None
    timed = [stage.variant for stage in run.stages if stage.variant]
    return comparison_for(benchmark, timed[-1], benchmark.comparisons[0].batch) if timed else None


def key_figures(run: RunReport) -> Iterator[KeyFigure]:
    """Latency, metric, MACs, parameters and file size, as far as they were measured."""
    first, last = run.stages[0], run.stages[-1]
    if comparison := main_comparison(run):
        yield _latency(run, comparison)
    if change := change_of(first.metric, final_metric(run)):
        yield _metric(change)
    yield _kept(run, "MACs", "macs", first.macs, last.macs)
    yield _kept(run, "Parameters", "params", first.parameters, last.parameters)
    for name, before, after in _sizes(run):
        dense, small = in_one_unit((before, after), BYTES)
        yield KeyFigure(name, share(after, before), dense, small)


def summary_table(run: RunReport) -> Table:
    """Dense and small side by side: one row per key figure."""
    columns = (
        Column("What", numeric=False),
        Column("Dense", spare=2),
        Column("Small", spare=1),
        Column("Left"),
        Column("Verdict [95 % CI]", numeric=False),
    )
    figures = list(key_figures(run))
    rows = tuple(row(one.name, one.before, one.after, one.value, Cell(one.detail, one.tone)) for one in figures)
    captions = ["Left: of the dense network. Parameters are counted as PyTorch has them."]
    captions += [f"{one.name}: {one.basis}." for one in figures if one.basis]
    return without_holes(Table("Small against dense", columns, rows, " ".join(captions)))


def _metric(change: Change) -> KeyFigure:
    noise = ", within noise" if change.is_noise else ""
    return KeyFigure(
        name=metric_title([change.after]),
        value=change.text,
        before=metric_value(change.before),
        after=metric_value(change.after),
        detail=f"[{change.interval_text}]{noise}" if change.interval else "interval unknown",
        basis=f"{change.after.n} {BASES[change.basis]}" if change.after.n else "",
        tone="bad" if change.is_worse else "plain",
    )


def _latency(run: RunReport, comparison: Comparison) -> KeyFigure:
    dense, small = (_p50(first_timing(run.benchmark, name)) for name in (comparison.baseline, comparison.variant))
    return KeyFigure(
        name="Latency" if comparison.batch == 1 else f"Latency, batch {comparison.batch}",
        value=percent(comparison.ratio),
        before=dense,
        after=small,
        detail=short_verdict(comparison),
        tone=TONES[comparison.verdict],
    )


def _p50(timing: tuple[Variant, Latency] | None) -> str:
    return UNKNOWN if timing is None else milliseconds(timing[1].p50_ms)


def _kept(run: RunReport, name: str, kind: TargetKind, before: int, after: int) -> KeyFigure:
    dense, small = in_one_unit((before, after), COUNTS)
    figure = KeyFigure(name, share(after, before), dense, small)
    target = next((one for one in targets_of(run) if one.kind == kind), None)
    if target is None:
        return figure
    outcome = f"target {percent(target.asked)} {'met' if target.met else 'missed'}"
    return replace(figure, detail=outcome, tone="good" if target.met else "bad")


def _sizes(run: RunReport) -> Iterator[tuple[str, int, int]]:
    """Bytes of the dense and of the final file, where both are known and of the same kind."""
    stored = {one.name: one.size for one in run.benchmark.variants} if run.benchmark else {}
    if {"dense", "small"} <= stored.keys():
        dense, small = stored["dense"], stored["small"]
        yield "File", stored_bytes(dense), stored_bytes(small)
        yield "File, gzip", dense.gzip_bytes, small.gzip_bytes
        return
    first, last = run.stages[0].size_bytes, run.stages[-1].size_bytes
    if first and last:
        yield "File", first, last
