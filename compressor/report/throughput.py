"""Items a second and memory, by batch size."""

from __future__ import annotations

from compressor.records.benchmark import BenchmarkReport
from compressor.report.format import count, size
from compressor.report.table import Column, Table, row

NOTE = (
    "Items a second of one session whose next call starts when the last one ends, with 95 % confidence intervals over "
    "fresh sessions; memory is what one process gains by loading the file and running it at that batch."
)


def throughput_table(benchmark: BenchmarkReport) -> Table:
    """One row per batch and variant; none where only one batch was asked for."""
    columns = (Column("Variant", numeric=False), Column("Batch"), Column("Items/s"), Column("95 % CI", spare=1))
    rows = tuple(
        row(
            variant.name,
            str(one.batch),
            count(one.items_per_s),
            "–".join(map(count, one.ci95)),
            size(one.peak_bytes),
        )
        for variant in benchmark.variants
        for one in variant.throughput
    )
    return Table("Throughput and memory", (*columns, Column("Peak memory")), rows, NOTE)
