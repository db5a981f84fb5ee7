"""The table of a search for the smallest network within a drop."""

from __future__ import annotations

from compressor.records.run import RunReport
from compressor.records.search import Drop, Probe
from compressor.report.format import share
from compressor.report.table import Cell, Column, Table, row, without_empty_columns

CAPTION = (
    "The drop is how much worse the metric is than the dense network's, in points, on the same samples of the "
    "validation part, with its 95 % interval. Each folder holds a whole run."
)


def probe_table(run: RunReport) -> Table:
    """One row a run of the search, from the largest network; without rows where there was no search."""
    columns = (
        Column("Target"),
        Column("MACs kept", spare=2),
        Column("Drop [95 % CI]"),
        Column("Within", numeric=False),
        Column("Began at", spare=1, numeric=False),
        Column("Folder", spare=3, numeric=False),
        Column("Why not", numeric=False, wraps=True),
    )
    rows = tuple(_probe(run, probe) for probe in run.probes)
    return without_empty_columns(Table("Search", columns, rows, CAPTION))


def _probe(run: RunReport, probe: Probe) -> tuple[Cell, ...]:
    chosen = ", chosen" if probe.chosen else ""
    return row(
        f"{probe.asked:.6g}",
        share(probe.macs, run.stages[0].macs) if probe.macs is not None else "",
        _drop(probe.drop) if probe.drop is not None else "",
        Cell(f"yes{chosen}", "good") if probe.within else Cell(f"no{chosen}", "bad"),
        probe.start or "dense",
        probe.folder,
        probe.why,
    )


def _drop(drop: Drop) -> str:
    shown, low, high = (f"{value:.2f}".replace("-", "−") for value in (drop.points, *drop.ci95))
    return f"{shown} [{low} to {high}]"
