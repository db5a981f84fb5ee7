"""Tables of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict

from compressor.records.benchmark import BenchmarkReport, Comparison, FileSize, Latency, Variant
from compressor.report.format import (
    TONES,
    UNKNOWN,
    count,
    milliseconds,
    percent,
    short_verdict,
    size,
    verdict,
)
from compressor.report.table import Cell, Column, Table, facts, row, without_empty_columns

INTERVAL_NOTE = (
    "Brackets are 95 % confidence intervals. Speed-ups come from interleaved runs in fresh sessions, "
    "never from dividing two times of this table."
)


def comparison_for(benchmark: BenchmarkReport, variant: str, batch: int) -> Comparison | None:
    """The comparison of ``variant`` with its baseline at ``batch``, if it was made."""
    made = (one for one in benchmark.comparisons if (one.variant, one.batch) == (variant, batch))
    return next(made, None)


def first_timing(benchmark: BenchmarkReport | None, name: str | None) -> tuple[Variant, Latency] | None:
    """The variant called ``name`` and its latency at the first batch size, if it was timed."""
    variants = benchmark.variants if benchmark is not None else ()
    return next(((one, one.latency[0]) for one in variants if one.name == name and one.latency), None)


def verdict_cell(benchmark: BenchmarkReport, variant: str, batch: int) -> Cell:
    """The short verdict; ``baseline`` for what the others are measured against."""
    comparison = comparison_for(benchmark, variant, batch)
    if comparison is not None:
        return Cell(short_verdict(comparison), TONES[comparison.verdict])
    baselines = {comparison.baseline for comparison in benchmark.comparisons}
    return Cell("baseline" if variant in baselines else UNKNOWN)


def stored_bytes(file: FileSize) -> int:
    """What has to be shipped: the file and its external data."""
    return file.onnx_bytes + file.external_bytes


def batch_column(batches: set[int]) -> Column:
    """Needed to tell rows apart when there are several batch sizes, else the first to go."""
    return Column("Batch", spare=0 if len(batches) > 1 else 9)


def latency_table(benchmark: BenchmarkReport) -> Table:
    """One row per variant and batch: cost, size, percentiles, verdict."""
    columns = (
        Column("Variant", numeric=False),
        batch_column({latency.batch for variant in benchmark.variants for latency in variant.latency}),
        Column("MACs", spare=3),
        Column("Params", spare=6),
        Column("Size", spare=1),
        Column("gzip", spare=8),
        Column("Load", spare=2),
        Column("p50"),
        Column("p90", spare=4),
        Column("p99", spare=5),
        Column("min", spare=7),
        Column("Latency [95 % CI]", numeric=False),
    )
    rows = tuple(
        row(
            variant.name,
            str(latency.batch),
            count(variant.macs),
            count(variant.parameters),
            size(stored_bytes(variant.size)),
            size(variant.size.gzip_bytes),
            milliseconds(variant.load_ms.p50),
            milliseconds(latency.p50_ms),
            milliseconds(latency.p90_ms),
            milliseconds(latency.p99_ms),
            milliseconds(latency.min_ms),
            verdict_cell(benchmark, variant.name, latency.batch),
        )
        for variant in benchmark.variants
        for latency in variant.latency
    )
    return without_empty_columns(Table("Latency and size", columns, rows, INTERVAL_NOTE))


def files_table(benchmark: BenchmarkReport) -> Table:
    """One row per variant: what the file is and what loading it costs."""
    columns = (
        Column("Variant", numeric=False),
        Column("Opset"),
        Column("Exporter", spare=3, numeric=False),
        Column("Params not zero", spare=4),
        Column("Load p50", spare=1),
        Column("Session memory", spare=2),
        Column("Run peak", spare=5),
        Column("Provider", spare=6, numeric=False),
        Column("SHA-256", spare=7, numeric=False),
    )
    rows = tuple(
        row(
            variant.name,
            UNKNOWN if variant.opset is None else str(variant.opset),
            variant.exporter or UNKNOWN,
            count(variant.parameters_nonzero),
            milliseconds(variant.load_ms.p50),
            size(variant.memory.session_bytes if variant.memory else None),
            size(variant.memory.run_peak_bytes if variant.memory else None),
            ", ".join(variant.providers_actual),
            variant.sha256[:12],
        )
        for variant in benchmark.variants
    )
    return without_empty_columns(
        Table("Files", columns, rows, "Memory is what one process gained by loading, then by running.")
    )


def verdict_table(benchmark: BenchmarkReport) -> Table:
    """Every comparison in full, and the controls: the baseline against a second copy of itself."""
    columns = (
        Column("Compared", numeric=False, wraps=True),
        Column("Batch"),
        Column("Verdict", numeric=False, wraps=True),
        Column("Noise floor", spare=1),
    )
    rows = [_verdict_row(comparison, "") for comparison in benchmark.comparisons]
    rows += [_verdict_row(control, " (control)") for control in benchmark.controls]
    return Table("Verdicts and controls", columns, tuple(rows), " ".join(_rules(benchmark)))


def _rules(benchmark: BenchmarkReport) -> Iterator[str]:
    yield from dict.fromkeys(f"Rule: {comparison.rule}." for comparison in benchmark.comparisons)
    if any(comparison.sequential for comparison in benchmark.comparisons):
        yield "Sequential: measured longer where it was inconclusive at first."


def _verdict_row(comparison: Comparison, mark: str) -> tuple[Cell, ...]:
    return row(
        f"{comparison.variant} / {comparison.baseline}{mark}",
        str(comparison.batch),
        Cell(verdict(comparison), TONES[comparison.verdict]),
        percent(comparison.noise_floor),
    )


def environment_tables(benchmark: BenchmarkReport) -> tuple[Table, Table]:
    """The machine, and how it was measured."""
    machine = asdict(benchmark.environment)
    if (memory := machine.pop("memory_total_bytes")) is not None:
        machine["memory_total"] = size(memory)
    return facts("Machine", machine), facts("Benchmark settings", asdict(benchmark.settings))
