"""What the two kinds of JSON document must hold, as plain data, and the check of a value against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compressor.errors import CompressorError


@dataclass(frozen=True, slots=True)
class Maybe:
    """Either null or ``shape``."""

    shape: Any


NUMBER = (int, float)
INTERVAL = (NUMBER, NUMBER)
VERDICTS = frozenset({"faster", "slower", "same", "inconclusive"})

ACCURACY = {"value": NUMBER, "n": int, "ci95": Maybe(INTERVAL)}

COMPARISON = {
    "variant": str,
    "baseline": str,
    "batch": int,
    "ratio": NUMBER,
    "ci95": INTERVAL,
    "speedup": NUMBER,
    "speedup_ci95": INTERVAL,
    "pairs": int,
    "rounds": int,
    "noise_floor": Maybe(NUMBER),
    "verdict": VERDICTS,
    "rule": str,
    "sequential": bool,
}

LATENCY = {
    "batch": int,
    "n": int,
    "min_ms": NUMBER,
    "p50_ms": NUMBER,
    "p90_ms": Maybe(NUMBER),
    "p95_ms": Maybe(NUMBER),
    "p99_ms": Maybe(NUMBER),
    "mean_ms": NUMBER,
}

VARIANT = {
    "name": str,
    "sha256": str,
    "opset": Maybe(int),
    "exporter": Maybe(str),
    "macs": Maybe(NUMBER),
    "parameters": Maybe(int),
    "parameters_nonzero": Maybe(int),
    "size": {"onnx_bytes": int, "external_bytes": int, "gzip_bytes": int},
    "providers_actual": [str],
    "load_ms": {"p50": NUMBER, "min": NUMBER, "n": int},
    "memory": Maybe({"session_bytes": NUMBER, "run_peak_bytes": NUMBER, "method": str}),
    "latency": [LATENCY],
    "unaligned_layers": [{"name": str, "channels": int}],
}

COMMON = {"schema_version": int, "kind": str, "tool": dict, "started": str, "duration_s": NUMBER}

BENCHMARK = COMMON | {
    "environment": {"cpu_model": Maybe(str), "flags": [str], "affinity": [int], "onnxruntime": str},
    "settings": {"provider": str, "threads": int, "batches": [int]},
    "variants": [VARIANT],
    "comparisons": [COMPARISON],
    "controls": [COMPARISON],
    "warnings": [str],
}

RUN = COMMON | {
    "command": str,
    "settings": dict,
    "stages": [
        {
            "stage": str,
            "variant": Maybe(str),
            "accuracy": Maybe(ACCURACY),
            "macs": NUMBER,
            "parameters": int,
            "size_bytes": Maybe(int),
            "note": str,
        }
    ],
    "removal": Maybe(
        {
            "float64": NUMBER,
            "float32": NUMBER,
            "float64_limit": NUMBER,
            "float32_limit": NUMBER,
            "inputs": str,
            "channels_removed": int,
            "channels_total": int,
        }
    ),
    "gap": Maybe(NUMBER),
    "target": Maybe({"kind": frozenset({"macs", "params"}), "asked": NUMBER, "reached": NUMBER, "met": bool}),
    "export": [
        {
            "variant": str,
            "exporter": str,
            "opset": int,
            "parity": {
                "max_abs": NUMBER,
                "norm_rel": NUMBER,
                "sqnr_db": Maybe(NUMBER),
                "top1_agreement": Maybe(NUMBER),
                "inputs": str,
            },
        }
    ],
    "layers": [{"name": str, "before": int, "after": int, "macs_before": NUMBER, "macs_after": NUMBER}],
    "training": [
        {
            "phase": str,
            "epoch": int,
            "loss": Maybe(NUMBER),
            "val_accuracy": Maybe(NUMBER),
            "macs_kept": Maybe(NUMBER),
            "beta": Maybe(NUMBER),
            "gap": Maybe(NUMBER),
        }
    ],
    "benchmark": Maybe(BENCHMARK),
    "warnings": [str],
    "notes": [str],
}

SCHEMAS: Mapping[str, dict[str, Any]] = {"benchmark": BENCHMARK, "run": RUN}


def check(value: Any, shape: Any, where: str) -> None:
    """Raise `CompressorError` naming the first place where ``value`` does not have ``shape``."""
    if isinstance(shape, Maybe):
        if value is not None:
            check(value, shape.shape, where)
    elif isinstance(shape, dict):
        _check_object(value, shape, where)
    elif isinstance(shape, list):
        _require(isinstance(value, list), where, "a list", value)
        for index, item in enumerate(value):
            check(item, shape[0], f"{where}[{index}]")
    elif shape is INTERVAL:
        _require(isinstance(value, list | tuple) and len(value) == 2, where, "[low, high]", value)
        for bound in value:
            check(bound, NUMBER, where)
    elif isinstance(shape, frozenset):
        _require(isinstance(value, str) and value in shape, where, f"one of {sorted(shape)}", value)
    else:
        _check_scalar(value, shape, where)


def _check_object(value: Any, shape: dict[str, Any], where: str) -> None:
    _require(isinstance(value, dict), where, "an object", value)
    for key, inner in shape.items():
        name = f"{where}.{key}" if where else key
        if key not in value:
            raise CompressorError(f"{name} is missing")
        check(value[key], inner, name)


def _check_scalar(value: Any, kind: Any, where: str) -> None:
    names = {int: "a whole number", NUMBER: "a number", str: "text", bool: "true or false", dict: "an object"}
    # JSON's true is a Python int as well.
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    _require(fits, where, names[kind], value)


def _require(holds: bool, where: str, expected: str, value: Any) -> None:
    if not holds:
        shown = repr(value)
        short = shown if len(shown) <= 40 else f"{shown[:37]}..."
        raise CompressorError(f"{where or 'the document'} must be {expected}, got {short}")
