"""Realistic reports for the tests, and what changes them."""

from __future__ import annotations

from typing import Any, TypeVar

from msgspec import Struct, convert
from msgspec.structs import replace

from compressor.records import Metric
from compressor.records.benchmark import BenchmarkReport, Comparison
from compressor.records.run import RunReport, StageRow, Target

Kind = TypeVar("Kind", bound=Struct)

INTERVALS = {
    "faster": (0.526, (0.515, 0.538)),
    "slower": (1.21, (1.17, 1.25)),
    "same": (1.004, (0.991, 1.016)),
    "inconclusive": (0.99, (0.926, 1.075)),
}


def comparison(verdict: str = "faster", *, variant: str = "small", batch: int = 1) -> Comparison:
    ratio, (low, high) = INTERVALS[verdict]
    plain = {
        "variant": variant,
        "baseline": "dense",
        "batch": batch,
        "ratio": ratio,
        "ci95": [low, high],
        "speedup": 1 / ratio,
        "speedup_ci95": [1 / high, 1 / low],
        "pairs": 8,
        "rounds": 6,
        "noise_floor": 0.013,
        "verdict": verdict,
        "rule": "t interval over 8 session pairs",
        "sequential": False,
    }
    return convert(plain, Comparison)


def timing(batch: int, p50_ms: float) -> dict[str, Any]:
    return {
        "batch": batch,
        "n": 96,
        "min_ms": 0.96 * p50_ms,
        "p50_ms": p50_ms,
        "p90_ms": 1.06 * p50_ms,
        "p95_ms": 1.1 * p50_ms,
        "p99_ms": None,
        "mean_ms": 1.02 * p50_ms,
    }


def variant(name: str, *, macs: int, parameters: int, p50_ms: float) -> dict[str, Any]:
    return {
        "name": name,
        "path": f"runs/digits/{name}.onnx",
        "sha256": "5b1c" * 16,
        "opset": 18,
        "exporter": "dynamo",
        "macs": macs,
        "parameters": parameters,
        "parameters_nonzero": parameters - 12,
        "size": {
            "onnx_bytes": 4 * parameters + 9000,
            "external_bytes": 0,
            "gzip_bytes": int(3.7 * parameters),
        },
        "metadata": {"producer": "compressor"},
        "providers_actual": ["CPUExecutionProvider"],
        "load_ms": {"p50": 5.4, "min": 5.1, "n": 8},
        "memory": {"session_bytes": 4_300_000, "run_peak_bytes": 700_000, "method": "VmHWM of a subprocess"},
        "latency": [timing(1, p50_ms), timing(8, 7.4 * p50_ms)],
        "unaligned_layers": [],
    }


ENVIRONMENT = {
    "cpu_model": "AMD EPYC 9354 32-Core Processor",
    "arch": "x86_64",
    "flags": ["avx2", "avx512_vnni", "avx512f", "fma"],
    "logical_cpus": 4,
    "physical_cpus": None,
    "affinity": [0, 1, 2, 3],
    "governor": None,
    "virtualised": True,
    "load_before": [1.2, 1.0, 0.9],
    "load_after": [1.4, 1.1, 0.9],
    "memory_total_bytes": 16_700_000_000,
    "os": "Linux",
    "kernel": "6.8.0",
    "python": "3.11.9",
    "onnxruntime": "1.31.1",
    "onnx": "1.23.2",
    "cpu_quota": None,
}


def benchmark(verdict: str = "faster", **environment: Any) -> BenchmarkReport:
    dense = variant("dense", macs=82_300_000, parameters=274_000, p50_ms=2.34)
    small = variant("small", macs=41_000_000, parameters=118_000, p50_ms=1.23)
    plain = {
        "kind": "benchmark",
        "tool": {"name": "compressor", "version": "0.1.0"},
        "started": "2025-06-01T10:00:00+00:00",
        "duration_s": 41.3,
        "environment": {**ENVIRONMENT, **environment},
        "settings": {
            "provider": "cpu",
            "threads": 1,
            "graph_optimization": "all",
            "spinning": False,
            "batches": [1, 8],
            "pairs": 8,
            "rounds": 6,
            "seed": 0,
            "max_seconds": 60.0,
        },
        "variants": [dense, small],
        "comparisons": [comparison(verdict), comparison(verdict, batch=8)],
        "controls": [comparison("same", variant="dense")],
        "warnings": ["the machine is virtualised: absolute times may drift"],
    }
    return convert(plain, BenchmarkReport, from_attributes=True)


def accuracy(value: float, reach: float = 0.014) -> Metric:
    return Metric(value=value, n=360, ci95=(value - reach, min(1.0, value + 0.7 * reach)))


def stage(name: str, value: float | None, macs: int, **others: Any) -> StageRow:
    row: dict[str, Any] = {
        "stage": name,
        "variant": None,
        "metric": None if value is None else accuracy(value),
        "macs": macs,
        "parameters": 274_000 if macs > 50_000_000 else 118_000,
        "size_bytes": None,
        "note": "",
    }
    return StageRow(**{**row, **others})


def run(verdict: str = "faster", **changes: Any) -> RunReport:
    dense, small = 82_300_000, 41_000_000
    plain = {
        "kind": "run",
        "tool": {"name": "compressor", "version": "0.1.0"},
        "started": "2025-06-01T10:00:00+00:00",
        "duration_s": 151.2,
        "command": "compress run digits-resnet --penalty l1-l2 --target-macs 0.5 --out runs/digits",
        "settings": {
            "penalty": "l1-l2",
            "target_macs": 0.5,
            "target_params": None,
            "epochs": 12,
            "seed": 0,
            "data": "digits",
            "architecture": "resnet20",
        },
        "stages": [
            stage("dense", 0.9833, dense, variant="dense", size_bytes=1_100_000, file="dense.pt"),
            stage("fine-tuned", 0.9806, dense, note="group gap closed to 0.04 %"),
            stage("projected", 0.9806, dense, note="1,012 of 2,100 channels zero", file="sparse.pt"),
            stage("shrunk", 0.9806, small, size_bytes=480_000, file="shrunk.pt", note="outputs checked equal"),
            stage("recovered", 0.9861, small, size_bytes=480_000, file="recovered.pt"),
            stage("onnx", 0.9861, small, variant="small", size_bytes=481_000, file="small.onnx", note="as ONNX"),
        ],
        "removal": {
            "float64": 4.4e-16,
            "float32": 3.1e-7,
            "float64_limit": 1e-9,
            "float32_limit": 1e-5,
            "inputs": "3 random batches and 32 real samples",
            "channels_removed": 1012,
            "channels_total": 2100,
        },
        "gap": 0.0004,
        "target": {"kind": "macs", "asked": 0.5, "reached": 0.498, "met": True},
        "export": [export("dense"), export("small")],
        "layers": layers(),
        "training": [*phase("fine-tune", 8), *phase("recover", 4)],
        "benchmark": benchmark(verdict),
        "warnings": [],
        "notes": ["These are the images the checkpoint was trained on: the table compares methods."],
    }
    return replace(convert(plain, RunReport, from_attributes=True), **changes)


def export(name: str) -> dict[str, Any]:
    parity = {
        "max_abs": 2.1e-6,
        "norm_rel": 4.7e-7,
        "sqnr_db": 131.0,
        "top1_agreement": 1.0,
        "inputs": "3 seeds, batches 1 to 3",
    }
    return {"variant": name, "exporter": "dynamo", "opset": 18, "parity": parity}


def layers() -> list[dict[str, Any]]:
    counts = [
        (16, 16),
        (16, 8),
        (16, 16),
        (16, 12),
        (32, 16),
        (32, 32),
        (32, 8),
        (64, 24),
        (64, 64),
        (64, 40),
    ]
    return [
        {
            "name": f"layer{1 + index // 4}.{index % 4}.conv{1 + index % 2}",
            "before": before,
            "after": after,
            "macs_before": 147_456 * before,
            "macs_after": 147_456 * after,
        }
        for index, (before, after) in enumerate(counts)
    ]


def phase(name: str, epochs: int) -> list[dict[str, Any]]:
    tuning = name == "fine-tune"
    return [
        {
            "phase": name,
            "epoch": epoch,
            "loss": 0.4 / (epoch + 1) + (0.02 if tuning else 0.0),
            "validation": {"value": 0.985 - 0.01 / (epoch + 1), "n": 130},
            "macs_kept": max(0.5, 1 - 0.09 * epoch) if tuning else None,
            "beta": 10.0 ** (epoch / 2) if tuning else None,
            "gap": 0.3 / 4**epoch if tuning else None,
        }
        for epoch in range(epochs)
    ]


def missed_target() -> RunReport:
    target = Target(kind="macs", asked=0.4, reached=0.498, met=False)
    warning = "the target was not met: 49.8 % of the MACs remain, 40.0 % were asked"
    return run("inconclusive", target=target, warnings=(warning,))


def without_metrics(report: RunReport) -> RunReport:
    return replace(report, stages=tuple(replace(stage, metric=None) for stage in report.stages))


def with_final(report: RunReport, metric: Metric) -> RunReport:
    (*others, last) = report.stages
    return replace(report, stages=(*others, replace(last, metric=metric)))


def with_first(rows: tuple[Kind, ...], **changes: Any) -> tuple[Kind, ...]:
    """``rows`` with the first changed."""
    return (replace(rows[0], **changes), *rows[1:])


def perplexity(value: float, reach: float = 1.0) -> Metric:
    """A metric with a unit of its own, of which less is better."""
    interval = (value - reach, value + reach)
    return Metric(name="perplexity", unit="nats", direction="lower", value=value, n=360, ci95=interval)
