"""Which execution providers really ran the nodes of each file."""

from __future__ import annotations

from compressor.records.benchmark import BenchmarkReport
from compressor.report.format import microseconds, share
from compressor.report.table import Column, Table, row

NOTE = (
    "Read off a profile of each file. Nodes that only compute shapes, ONNX Runtime keeps on the CPU on purpose; "
    "any other that does not run where it was asked to is an error without --allow-fallback."
)


def provider_table(benchmark: BenchmarkReport) -> Table:
    """One row per variant and provider; none where everything was asked to run on the CPU, which takes every node."""
    columns = (
        Column("Variant", numeric=False),
        Column("Provider", numeric=False),
        Column("Nodes"),
        Column("share"),
        Column("only shapes", spare=1),
        Column("µs"),
        Column("share of time"),
    )
    rows = tuple(
        row(
            variant.name,
            one.provider.removesuffix("ExecutionProvider"),
            str(one.nodes),
            share(one.nodes, sum(other.nodes for other in variant.providers)),
            str(one.shape_nodes),
            microseconds(one.us),
            share(one.us, sum(other.us for other in variant.providers)),
        )
        for variant in (benchmark.variants if benchmark.settings.provider != "cpu" else ())
        for one in variant.providers
    )
    return Table("Nodes by provider", columns, rows, NOTE)
