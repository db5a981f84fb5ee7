"""Sheets of a run document."""

from __future__ import annotations

from typing import Any

from compressor.report.benchmark_sheets import INTERVAL_NOTE, verdict_cell
from compressor.report.documents import Document
from compressor.report.sheet import Cell, Column, Sheet, row, without_empty_columns
from compressor.report.wording import UNKNOWN, accuracy, count, milliseconds, percent, scientific, share, size


def stage_sheet(run: Document) -> Sheet:
    """One row per stage: accuracy, cost, size and, where it was timed, latency."""
    columns = (
        Column("Stage", numeric=False),
        Column("Accuracy"),
        Column("MACs", spare=5),
        Column("MACs kept", spare=1),
        Column("Params", spare=4),
        Column("Size", spare=2),
        Column("p50", spare=3),
        Column("Latency [95 % CI]", numeric=False),
        Column("Note", spare=6, numeric=False, wraps=True),
    )
    dense = run["stages"][0]
    rows = tuple(
        row(
            stage["stage"],
            accuracy(stage["accuracy"]),
            count(stage["macs"]),
            share(stage["macs"], dense["macs"]),
            count(stage["parameters"]),
            size(stage["size_bytes"]) if stage["size_bytes"] is not None else "",
            *_timing(run["benchmark"], stage),
            stage["note"],
        )
        for stage in run["stages"]
    )
    return without_empty_columns(Sheet("Stages", columns, rows, INTERVAL_NOTE))


def _timing(benchmark: Document | None, stage: dict[str, Any]) -> tuple[str, Cell]:
    for variant in (benchmark or {"variants": []})["variants"]:
        if benchmark is not None and variant["name"] == stage["variant"] and variant["latency"]:
            first = variant["latency"][0]
            cell = verdict_cell(benchmark, variant["name"], first["batch"])
            return milliseconds(first["p50_ms"]), cell
    return "", Cell("")


def proof_sheet(run: Document) -> Sheet:
    """What was proven: equal outputs after removal, the target."""
    columns = (
        Column("Claim", numeric=False, wraps=True),
        Column("Measured"),
        Column("Limit"),
        Column("Holds", numeric=False),
        Column("On", spare=1, numeric=False, wraps=True),
    )
    rows = []
    if removal := run["removal"]:
        removed = f"{removal['channels_removed']} of {removal['channels_total']} channels"
        for precision in ("float64", "float32"):
            difference, limit = removal[precision], removal[f"{precision}_limit"]
            rows.append(
                row(
                    f"Removing {removed} changes nothing, {precision}",
                    scientific(difference),
                    scientific(limit),
                    _holds(difference <= limit),
                    removal["inputs"],
                )
            )
    if target := run["target"]:
        what = "MACs" if target["kind"] == "macs" else "parameters"
        rows.append(
            row(
                f"Target: {what} kept",
                percent(target["reached"]),
                percent(target["asked"]),
                _holds(target["met"]),
                "",
            )
        )
    return Sheet("Proofs", columns, tuple(rows), "Differences are relative to the scale of the output.")


def parity_sheet(run: Document) -> Sheet:
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
    rows = tuple(_parity_row(export, export["parity"]) for export in run["export"])
    return Sheet("ONNX parity", columns, rows, "ONNX Runtime against PyTorch; the difference is relative.")


def _parity_row(export: dict[str, Any], parity: dict[str, Any]) -> tuple[Cell, ...]:
    sqnr = parity["sqnr_db"]
    return row(
        export["variant"],
        export["exporter"],
        str(export["opset"]),
        scientific(parity["norm_rel"]),
        scientific(parity["max_abs"]),
        UNKNOWN if sqnr is None else f"{sqnr:.0f} dB",
        percent(parity["top1_agreement"]),
        parity["inputs"],
    )


def layer_sheet(run: Document) -> Sheet:
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
            layer["name"],
            str(layer["before"]),
            str(layer["after"]),
            count(layer["macs_before"]),
            count(layer["macs_after"]),
            share(layer["macs_after"], layer["macs_before"]),
        )
        for layer in run["layers"]
    )
    return Sheet("Layers", columns, rows)


def _holds(yes: bool) -> Cell:
    return Cell("yes", "good") if yes else Cell("no", "bad")
