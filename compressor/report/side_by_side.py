"""Several reports side by side: their networks in one table, and what keeps them from being compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from compressor.records import Metric, Record
from compressor.records.benchmark import BenchmarkReport, Comparison, Latency, Variant
from compressor.records.run import Gate, Report, RunReport
from compressor.report.benchmark_tables import batch_column, comparison_for, first_timing, stored_bytes
from compressor.report.differences import Difference, Labelled, differences
from compressor.report.figures import benchmark_of, final_metric
from compressor.report.format import TONES, count, metric, metric_title, milliseconds, plain, short_verdict, size
from compressor.report.headline import all_warnings
from compressor.report.table import Cell, Column, Table, row, without_empty_columns

CAPTION = (
    "Each speed-up was measured inside its own document, against its own baseline, with a 95 % interval. "
    "Times of different documents were not interleaved: compare the speed-ups, not the milliseconds."
)


class ComparedNetwork(Record, frozen=True, kw_only=True):
    """One network of one report; ``comparison`` is against the baseline of the same report."""

    label: str
    variant: str
    metric: Metric | None
    macs: int | None
    parameters: int | None
    size_bytes: int | None
    batch: int | None
    p50_ms: float | None
    comparison: Comparison | None


class SideBySide(Record, frozen=True, kw_only=True):
    """What differs from the first report, all networks, why they may not be comparable, all gates and what failed."""

    differences: tuple[Difference, ...] = ()
    rows: tuple[ComparedNetwork, ...]
    warnings: tuple[str, ...]
    gates: tuple[Gate, ...] = ()
    failures: tuple[str, ...] = ()


def compare_reports(labelled: Labelled) -> SideBySide:
    """Put any number of runs and benchmarks side by side; each comes with its label."""
    reports = [report for _, report in labelled]
    rows = tuple(row for label, report in labelled for row in _rows(label, report))
    warnings = [*environments_differ(reports), *_data_differ(reports)]
    warnings += [f"{plain(label)}: {text}" for label, report in labelled for text in all_warnings(report)]
    return SideBySide(differences=differences(labelled), rows=rows, warnings=tuple(warnings))


def comparison_table(result: SideBySide) -> Table:
    """One row per network, timing and report."""
    columns = (
        Column("Report", numeric=False, wraps=True),
        Column("Network", numeric=False),
        batch_column({one.batch for one in result.rows if one.batch}),
        Column(metric_title(one.metric for one in result.rows), spare=1),
        Column("MACs", spare=3),
        Column("Params", spare=6),
        Column("Size", spare=2),
        Column("p50", spare=4),
        Column("Latency [95 % CI]", numeric=False),
    )
    return without_empty_columns(Table("Side by side", columns, tuple(map(_cells, result.rows)), CAPTION))


def environments_differ(reports: Sequence[Report]) -> list[str]:
    """One sentence for each fact that keeps these measurements from being compared number by number."""
    benchmarks = [benchmark for benchmark in map(benchmark_of, reports) if benchmark is not None]
    sentences = []
    for fact, pick in _FACTS.items():
        values = list(dict.fromkeys(_shown(pick(benchmark)) for benchmark in benchmarks))
        if len(values) > 1:
            sentences.append(f"The measurements differ in {fact}: {' | '.join(values)}.")
    return sentences + _instruction_sets_differ(benchmarks)


def _cells(one: ComparedNetwork) -> tuple[Cell, ...]:
    return row(
        one.label,
        one.variant,
        "" if one.batch is None else str(one.batch),
        metric(one.metric) if one.metric else "",
        count(one.macs),
        count(one.parameters),
        size(one.size_bytes),
        milliseconds(one.p50_ms) if one.p50_ms is not None else "",
        _verdict(one),
    )


def _verdict(one: ComparedNetwork) -> Cell:
    if one.comparison is not None:
        return Cell(short_verdict(one.comparison), TONES[one.comparison.verdict])
    return Cell("" if one.p50_ms is None else "baseline")


def _rows(label: str, report: Report) -> Iterator[ComparedNetwork]:
    if isinstance(report, RunReport):
        yield from _run_rows(label, report)
        return
    for variant in report.variants:
        for latency in variant.latency:
            yield _timed_row(label, report, variant, latency)


def _timed_row(label: str, benchmark: BenchmarkReport, variant: Variant, latency: Latency) -> ComparedNetwork:
    return ComparedNetwork(
        label=label,
        variant=variant.name,
        metric=None,
        macs=variant.macs,
        parameters=variant.parameters,
        size_bytes=stored_bytes(variant.size),
        batch=latency.batch,
        p50_ms=latency.p50_ms,
        comparison=comparison_for(benchmark, variant.name, latency.batch),
    )


def _run_rows(label: str, run: RunReport) -> Iterator[ComparedNetwork]:
    """The dense network and what became of it."""
    first, last = run.stages[0], run.stages[-1]
    for stage, measured in ((first, first.metric), (last, final_metric(run))):
        timing = first_timing(run.benchmark, stage.variant)
        timed = _timed_row(label, run.benchmark, *timing) if run.benchmark and timing else None
        yield ComparedNetwork(
            label=label,
            variant=stage.variant or stage.stage,
            metric=measured,
            macs=stage.macs,
            parameters=stage.parameters,
            size_bytes=timed.size_bytes if timed else stage.size_bytes,
            batch=timed.batch if timed else None,
            p50_ms=timed.p50_ms if timed else None,
            comparison=timed.comparison if timed else None,
        )


def _data_differ(reports: Sequence[Report]) -> list[str]:
    runs = [report for report in reports if isinstance(report, RunReport)]
    data = list(dict.fromkeys(plain(run.settings.get("data", "unknown")) for run in runs))
    measured = [final for run in runs if (final := final_metric(run))]
    sizes = {final.n for final in measured if final.n is not None}
    names = " and ".join(dict.fromkeys(plain(final.name) for final in measured)) or "accuracy"
    if len(data) > 1:
        return [f"The {names} was measured on different data: {' | '.join(data)}."]
    if len(sizes) > 1:
        shown = " | ".join(map(str, sorted(sizes)))
        return [f"The {names} was measured on different numbers of samples: {shown}."]
    return []


def _instruction_sets_differ(benchmarks: Sequence[BenchmarkReport]) -> list[str]:
    """The whole list would be long, so only what not all of them have."""
    flags = [set(benchmark.environment.flags) for benchmark in benchmarks]
    partly: set[str] = set().union(*flags).difference(set[str].intersection(*flags)) if flags else set()
    return [f"Only some of the processors have {plain(', '.join(sorted(partly)))}."] if partly else []


_FACTS: dict[str, Callable[[BenchmarkReport], str | float | bool | None]] = {
    "processor": lambda benchmark: benchmark.environment.cpu_model,
    "architecture": lambda benchmark: benchmark.environment.arch,
    "processors it may use": lambda benchmark: len(benchmark.environment.affinity),
    "processor quota": lambda benchmark: benchmark.environment.cpu_quota,
    "frequency governor": lambda benchmark: benchmark.environment.governor,
    "virtualisation": lambda benchmark: benchmark.environment.virtualised,
    "operating system": lambda benchmark: benchmark.environment.os,
    "onnxruntime version": lambda benchmark: benchmark.environment.onnxruntime,
    "execution provider": lambda benchmark: benchmark.settings.provider,
    "threads": lambda benchmark: benchmark.settings.threads,
    "graph optimisation": lambda benchmark: benchmark.settings.graph_optimization,
    "thread spinning": lambda benchmark: benchmark.settings.spinning,
}


def _shown(value: str | float | bool | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else plain(value)
