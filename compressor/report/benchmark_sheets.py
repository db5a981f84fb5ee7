"""Sheets of a benchmark document."""

from __future__ import annotations

from typing import Any

from compressor.report.documents import Document
from compressor.report.sheet import Cell, Column, Sheet, facts, row
from compressor.report.wording import (
    TONES,
    UNKNOWN,
    count,
    milliseconds,
    percent,
    short_verdict,
    size,
    verdict,
)

INTERVAL_NOTE = (
    "Brackets are 95 % confidence intervals. Speed-ups come from interleaved runs in fresh sessions, "
    "never from dividing two times of this table."
)
UNALIGNED_NOTE = "Channel counts like these drop the next convolution out of the runtime's fast layout."


def comparison_for(benchmark: Document, variant: str, batch: int) -> dict[str, Any] | None:
    """The comparison of ``variant`` with its baseline at ``batch``, if it was made."""
    for comparison in benchmark["comparisons"]:
        if (comparison["variant"], comparison["batch"]) == (variant, batch):
            return dict(comparison)
    return None


def verdict_cell(benchmark: Document, variant: str, batch: int) -> Cell:
    """The short verdict; ``baseline`` for what the others are measured against."""
    comparison = comparison_for(benchmark, variant, batch)
    if comparison is not None:
        return Cell(short_verdict(comparison), TONES[comparison["verdict"]])
    baselines = {comparison["baseline"] for comparison in benchmark["comparisons"]}
    return Cell("baseline" if variant in baselines else UNKNOWN)


def stored_bytes(variant: dict[str, Any]) -> int:
    """What has to be shipped: the file and its external data."""
    return int(variant["size"]["onnx_bytes"] + variant["size"]["external_bytes"])


def batch_column(batches: set[int]) -> Column:
    """Needed to tell rows apart when there are several batch sizes, else the first to go."""
    return Column("Batch", spare=0 if len(batches) > 1 else 9)


def benchmark_sheet(benchmark: Document) -> Sheet:
    """One row per variant and batch: cost, size, percentiles, verdict."""
    columns = (
        Column("Variant", numeric=False),
        batch_column({latency["batch"] for variant in benchmark["variants"] for latency in variant["latency"]}),
        Column("MACs", spare=3),
        Column("Params", spare=6),
        Column("Size", spare=1),
        Column("gzip", spare=8),
        Column("p50"),
        Column("p90", spare=4),
        Column("p99", spare=5),
        Column("min", spare=7),
        Column("Latency [95 % CI]", numeric=False),
    )
    rows = tuple(
        row(
            variant["name"],
            str(latency["batch"]),
            count(variant["macs"]),
            count(variant["parameters"]),
            size(stored_bytes(variant)),
            size(variant["size"]["gzip_bytes"]),
            milliseconds(latency["p50_ms"]),
            milliseconds(latency["p90_ms"]),
            milliseconds(latency["p99_ms"]),
            milliseconds(latency["min_ms"]),
            verdict_cell(benchmark, variant["name"], latency["batch"]),
        )
        for variant in benchmark["variants"]
        for latency in variant["latency"]
    )
    return Sheet("Latency and size", columns, rows, INTERVAL_NOTE)


def files_sheet(benchmark: Document) -> Sheet:
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
            variant["name"],
            UNKNOWN if variant["opset"] is None else str(variant["opset"]),
            variant["exporter"] or UNKNOWN,
            count(variant["parameters_nonzero"]),
            milliseconds(variant["load_ms"]["p50"]),
            size((variant["memory"] or {}).get("session_bytes")),
            size((variant["memory"] or {}).get("run_peak_bytes")),
            ", ".join(variant["providers_actual"]),
            variant["sha256"][:12],
        )
        for variant in benchmark["variants"]
    )
    return Sheet("Files", columns, rows, "Memory is what one process gained by loading, then by running.")


def verdict_sheet(benchmark: Document) -> Sheet:
    """Every comparison in full, and the controls: the baseline against a second copy of itself."""
    columns = (
        Column("Compared", numeric=False, wraps=True),
        Column("Batch"),
        Column("Verdict", numeric=False, wraps=True),
        Column("Noise floor", spare=1),
    )
    rows = [_verdict_row(comparison, "") for comparison in benchmark["comparisons"]]
    rows += [_verdict_row(control, " (control)") for control in benchmark["controls"]]
    return Sheet("Verdicts and controls", columns, tuple(rows), _rule(benchmark))


def _rule(benchmark: Document) -> str:
    rules = dict.fromkeys(f"Rule: {comparison['rule']}." for comparison in benchmark["comparisons"])
    if any(comparison["sequential"] for comparison in benchmark["comparisons"]):
        return " ".join([*rules, "Sequential: measured longer where it was inconclusive at first."])
    return " ".join(rules)


def _verdict_row(comparison: dict[str, Any], mark: str) -> tuple[Cell, ...]:
    return row(
        f"{comparison['variant']} / {comparison['baseline']}{mark}",
        str(comparison["batch"]),
        Cell(verdict(comparison), TONES[comparison["verdict"]]),
        percent(comparison["noise_floor"]),
    )


def unaligned_sheet(benchmark: Document) -> Sheet:
    """Layers whose channel count keeps the runtime off its fast path."""
    columns = (
        Column("Variant", numeric=False),
        Column("Layer", numeric=False, wraps=True),
        Column("Channels"),
    )
    rows = tuple(
        row(variant["name"], layer["name"], str(layer["channels"]))
        for variant in benchmark["variants"]
        for layer in variant["unaligned_layers"]
    )
    return Sheet("Layers off the fast path", columns, rows, UNALIGNED_NOTE)


def environment_sheets(benchmark: Document) -> tuple[Sheet, Sheet]:
    """The machine, and how it was measured."""
    machine = dict(benchmark["environment"])
    if machine.get("memory_total_bytes") is not None:
        machine["memory_total"] = size(machine.pop("memory_total_bytes"))
    return facts("Machine", machine), facts("Benchmark settings", benchmark["settings"])
