"""The table of a sweep: one row a point, the dense network first."""

from __future__ import annotations

from compressor.records.run import TargetKind
from compressor.records.sweep import FailedPoint, SweepReport, SweptNetwork
from compressor.report.benchmark_tables import INTERVAL_NOTE, verdict_cell
from compressor.report.format import count, metric, metric_change, metric_title, share, size
from compressor.report.table import Cell, Column, Table, row, without_empty_columns

KINDS: dict[TargetKind, str] = {
    "macs": "MACs",
    "params": "parameters",
    "latency": "latency",
    "size": "size",
    "drop": "drop",
}
CAPTION = (
    f"{INTERVAL_NOTE} The change is against the dense network on the same samples. A network is dominated when another "
    "one is at least as good and as fast, and better in one of the two; one may dominate where intervals leave it open."
)


def sweep_table(report: SweepReport) -> Table:
    """The networks and the targets without one."""
    columns = (
        Column(f"Target: {KINDS[report.target_kind]}", numeric=False),
        Column(metric_title(one.metric for one in report.networks)),
        Column("Change [95 % CI]", spare=2),
        Column("MACs kept", spare=3),
        Column("Params", spare=5),
        Column("Size", spare=4),
        Column("Latency [95 % CI]", numeric=False),
        Column("Frontier", numeric=False, wraps=True),
    )
    rows = (*(_network(report, one) for one in report.networks), *map(_failed, report.failed))
    return without_empty_columns(Table("Frontier", columns, rows, CAPTION))


def file_table(report: SweepReport) -> Table:
    """What every point left on disk."""
    columns = (Column("Network", numeric=False), Column("Files", numeric=False, wraps=True))
    rows = tuple(row(one.name, ", ".join(one.files)) for one in report.networks)
    return Table("Files of the points", columns, rows, "Relative to the folder of the sweep.")


def _network(report: SweepReport, one: SweptNetwork) -> tuple[Cell, ...]:
    dense = report.networks[0]
    missed = one.target is not None and not one.target.met
    return row(
        Cell(f"{one.name}, missed", "bad") if missed else one.name,
        metric(one.metric),
        _change(dense, one),
        share(one.macs, dense.macs),
        count(one.parameters),
        size(one.size_bytes),
        verdict_cell(report.benchmark, one.name, report.benchmark.settings.batches[0]),
        _place(one),
    )


def _change(dense: SweptNetwork, one: SweptNetwork) -> str:
    if one is dense or one.metric is None or dense.metric is None:
        return ""
    change = metric_change(dense.metric, one.metric)
    if one.change_ci95 is None:
        return change
    factor, decimals = (100, "+.1f") if one.metric.unit == "share" else (1, "+.4g")
    low, high = (f"{factor * bound:{decimals}}".replace("-", "−") for bound in one.change_ci95)
    return f"{change.removesuffix(' points')} [{low} to {high}]"


def _place(one: SweptNetwork) -> Cell:
    if one.dominated_by is None:
        return Cell("on it", "good")
    by = one.dominated_by
    return Cell(f"dominated by {by}", "bad") if one.clearly else Cell(f"{by} may dominate", "open")


def _failed(point: FailedPoint) -> tuple[Cell, ...]:
    return row(Cell(f"{point.name}, failed", "bad"), "", "", "", "", "", "", point.why)
