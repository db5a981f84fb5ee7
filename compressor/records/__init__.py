"""Every result, from where it is measured to where it is printed: frozen, typed, the source of the JSON schema.

Names in ``_ms`` are milliseconds, in ``_s`` seconds, in ``_bytes`` bytes; None is what was not measured or not told.
"""

from __future__ import annotations

from compressor.records.base import SCHEMA_VERSION, Interval, Metric, Record, Sparsity, Tool
from compressor.records.benchmark import (
    BenchmarkReport,
    BenchmarkSettings,
    Comparison,
    Environment,
    FileSize,
    Latency,
    LoadTime,
    Memory,
    UnalignedLayer,
    Variant,
    Verdict,
)
from compressor.records.run import (
    Epoch,
    Export,
    LayerChange,
    Parity,
    Removal,
    RunReport,
    StageRow,
    Target,
    TrainingEpoch,
)

__all__ = [
    "SCHEMA_VERSION",
    "BenchmarkReport",
    "BenchmarkSettings",
    "Comparison",
    "Environment",
    "Epoch",
    "Export",
    "FileSize",
    "Interval",
    "Latency",
    "LayerChange",
    "LoadTime",
    "Memory",
    "Metric",
    "Parity",
    "Record",
    "Removal",
    "Report",
    "RunReport",
    "Sparsity",
    "StageRow",
    "Target",
    "Tool",
    "TrainingEpoch",
    "UnalignedLayer",
    "Variant",
    "Verdict",
]

Report = RunReport | BenchmarkReport
