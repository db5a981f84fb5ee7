"""The table of a search for the smallest network within a drop."""

from __future__ import annotations

from compressor.records.run import RunReport
from compressor.records.search import Drop, Probe
from compressor.report.format import plain, share
from compressor.report.table import Cell, Column, Table, row, without_empty_columns

CAPTION = (
    "The drop is how much worse the metric is than the dense network's, in {unit}, on the same samples of the "
    "validation part{interval}. Each folder holds a whole run."
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
    unit = next((target.unit for target in run.targets if target.kind == "drop" and target.unit), "points")
    known = any(probe.drop is not None and probe.drop.ci95 is not None for probe in run.probes)
    caption = CAPTION.format(unit=plain(unit), interval=", with its 95 % interval" if known else "; it has no interval")
    return without_empty_columns(Table("Search", columns, rows, caption))


def _probe(run: RunReport, probe: Probe) -> tuple[Cell, ...]:
    chosen = ", chosen" if probe.chosen else ""
    return row(
        f"{probe.asked:.6g}",
        share(probe.macs, run.stages[0].macs) if probe.macs is not None else "",
        _drop(run, probe.drop) if probe.drop is not None else "",
        Cell(f"yes{chosen}", "good") if probe.within else Cell(f"no{chosen}", "bad"),
        probe.start or "dense",
        probe.folder,
        probe.why,
    )


def _drop(run: RunReport, drop: Drop) -> str:
    decimals = ".4g" if any(target.unit for target in run.targets) else ".2f"
    shown, *ends = (f"{value:{decimals}}".replace("-", "−") for value in (drop.points, *(drop.ci95 or ())))
    return f"{shown} [{' to '.join(ends)}]" if ends else shown
