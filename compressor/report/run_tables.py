"""Tables of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compressor.records.run import Export, Gate, RunReport
from compressor.report.format import (
    UNKNOWN,
    count,
    metric,
    metric_title,
    percent,
    plain,
    scientific,
    share,
    size,
)
from compressor.report.table import Cell, Column, Table, row, without_holes


def stage_table(run: RunReport) -> Table:
    """One row per stage: the metric, what is left, and the file that holds the network."""
    columns = (
        Column("Stage", numeric=False),
        Column(metric_title(stage.metric for stage in run.stages)),
        Column("MACs", spare=4),
        Column("MACs kept"),
        Column("Params", spare=2),
        Column("File", spare=1, numeric=False),
        Column("Size", spare=3),
        Column("What happened", spare=5, numeric=False, wraps=True),
    )
    dense = run.stages[0]
    rows = tuple(
        row(
            stage.stage,
            metric(stage.metric),
            count(stage.macs),
            share(stage.macs, dense.macs),
            count(stage.parameters),
            stage.file,
            size(stage.size_bytes) if stage.size_bytes is not None else "",
            stage.note,
        )
        for stage in run.stages
    )
    return without_holes(Table("Stages", columns, rows, " ".join(_stage_notes(run))))


def _stage_notes(run: RunReport) -> Iterator[str]:
    yield "Brackets are 95 % confidence intervals of each network alone; parameters are counted as PyTorch has them."
    if stale := [stage.stage for stage in run.stages if stage.stale]:
        yield (
            f"BatchNorm's running statistics were re-estimated after {' and '.join(map(plain, stale))}: what their "
            "figures lack is due to the stale statistics, not to the weights."
        )


def gate_table(gates: Sequence[Gate]) -> Table:
    """The limits that were asked for, and what was measured."""
    columns = (
        Column("Gate", numeric=False),
        Column("Limit"),
        Column("Holds", numeric=False),
        Column("Measured", numeric=False, wraps=True),
    )
    rows = tuple(row(f"--{gate.name}", f"{gate.limit:g}", _holds(gate.holds), gate.measured) for gate in gates)
    return Table("Gates", columns, rows, "A gate holds when the unfavourable end of the 95 % interval does.")


def check_table(run: RunReport) -> Table:
    """What was checked: equal outputs after removal."""
    columns = (
        Column("Claim", numeric=False, wraps=True),
        Column("Measured"),
        Column("Limit"),
        Column("Holds", numeric=False),
        Column("On", spare=1, numeric=False, wraps=True),
    )
    rows = []
    if removal := run.removal:
        removed = f"Removing {removal.channels_removed} of {removal.channels_total} channels changes nothing"
        for precision, difference, limit in (
            ("float64", removal.float64, removal.float64_limit),
            ("float32", removal.float32, removal.float32_limit),
        ):
            if difference is None:
                continue
            holds = _holds(difference <= limit)
            rows.append(
                row(f"{removed}, {precision}", scientific(difference), scientific(limit), holds, removal.inputs)
            )
    return Table("Equivalence checks", columns, tuple(rows), "Differences are relative to the scale of the output.")


def parity_table(run: RunReport) -> Table:
    """How far ONNX Runtime is from PyTorch on the exported files."""
    columns = (
        Column("ONNX file", numeric=False),
        Column("Exporter", spare=3, numeric=False),
        Column("Opset", spare=4),
        Column("Difference"),
        Column("Absolute", spare=5),
        Column("SQNR", spare=1),
        Column("Same top-1"),
        Column("On", spare=2, numeric=False, wraps=True),
    )
    rows = tuple(map(_parity_row, run.export))
    return Table("ONNX parity", columns, rows, "ONNX Runtime against PyTorch; the difference is relative.")


def _parity_row(export: Export) -> tuple[Cell, ...]:
    parity = export.parity
    return row(
        export.variant,
        export.exporter,
        UNKNOWN if export.opset is None else str(export.opset),
        scientific(parity.norm_rel),
        scientific(parity.max_abs),
        UNKNOWN if parity.sqnr_db is None else f"{parity.sqnr_db:.0f} dB",
        percent(parity.top1_agreement),
        parity.inputs,
    )


def layer_table(run: RunReport) -> Table:
    """Channels and MACs of every layer, before and after."""
    columns = (
        Column("Layer", numeric=False, wraps=True),
        Column("Channels"),
        Column("left"),
        Column("MACs before", spare=2),
        Column("MACs after", spare=1),
        Column("MACs kept"),
    )
    rows = tuple(
        row(
            layer.name,
            str(layer.before or "-"),
            str(layer.after) if layer.before else "-",
            count(layer.macs_before),
            count(layer.macs_after),
            share(layer.macs_after, layer.macs_before),
        )
        for layer in run.layers
    )
    return Table("Layers", columns, rows)


def _holds(yes: bool) -> Cell:
    return Cell("yes", "good") if yes else Cell("no", "bad")
