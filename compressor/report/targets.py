"""What was asked for, and what was reached, in words."""

from __future__ import annotations

from collections.abc import Sequence

from compressor.records.run import RunReport, Target, TargetKind
from compressor.report.format import percent, plain, size
from compressor.report.table import Cell, Column, Table, row, without_holes

SHARES: dict[TargetKind, str] = {"macs": "MACs", "params": "parameters", "latency": "latency"}


def targets_of(run: RunReport) -> tuple[Target, ...]:
    """All targets of a run, the binding one among them; older reports know that alone."""
    return run.targets or ((run.target,) if run.target is not None else ())


def target_name(target: Target) -> str:
    """``MACs``, ``size, compressed``, ``drop of the metric``: what a target is about."""
    if target.kind == "size":
        return "file size, compressed" if target.compressed else "file size"
    return SHARES.get(target.kind, "drop on the validation part")


def target_value(target: Target, value: float) -> str:
    """``value`` in the unit of the target: ``50.0 % of the MACs``, ``2.00 MB``, ``0.50 points``."""
    if target.kind == "size":
        return f"{size(value)} compressed" if target.compressed else size(value)
    if target.kind == "drop":
        return f"{value:.4g} {plain(target.unit)}" if target.unit else f"{value:.2f} points"
    return f"{percent(value)} of the {SHARES[target.kind]}"


def missed_line(target: Target) -> str:
    """``Target missed: at most 40.0 % of the MACs asked, 49.8 % of the MACs reached.``"""
    asked, reached = target_value(target, target.asked), target_value(target, target.reached)
    return f"Target missed: at most {asked} asked, {reached} reached."


def target_table(targets: Sequence[Target]) -> Table:
    """One row per target."""
    columns = (
        Column("Target", numeric=False, wraps=True),
        Column("At most"),
        Column("Reached"),
        Column("95 % CI", spare=2),
        Column("Met", numeric=False),
        Column("The next width would give", spare=1, numeric=False, wraps=True),
    )
    rows = tuple(
        row(
            target_name(target),
            _bare(target, target.asked),
            _bare(target, target.reached),
            " to ".join(_bare(target, bound) for bound in target.ci95 or ()),
            Cell("yes", "good") if target.met else Cell("no", "bad"),
            target.next,
        )
        for target in targets
    )
    return without_holes(Table("Targets", columns, rows))


def _bare(target: Target, value: float) -> str:
    return percent(value) if target.kind in SHARES else target_value(target, value)
