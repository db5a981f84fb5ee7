"""The two JSON documents, ``run`` and ``benchmark``: read with every check, written whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compressor.errors import CompressorError
from compressor.files import write_text
from compressor.report.schema import SCHEMAS, check

SCHEMA_VERSION = 1

Document = dict[str, Any]


def read_document(path: Path) -> Document:
    """Read a run or benchmark document; `CompressorError` of one line when it is not one of ours."""
    try:
        document: Any = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise CompressorError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CompressorError(f"{path} is not JSON: {error}") from error
    return _validated(document, str(path))


def write_document(path: Path, document: Document) -> None:
    """Check ``document`` and write it to ``path`` whole; NaN and infinity, unknown to JSON, become null."""
    finite = _validated(_without_nonfinite(document), str(path))
    write_text(Path(path), json.dumps(finite, indent=2, ensure_ascii=False) + "\n")


def benchmark_of(document: Document) -> Document | None:
    """The benchmark inside a run document, or the benchmark document itself; None when nothing was timed."""
    inner: Document | None = document if document["kind"] == "benchmark" else document["benchmark"]
    return inner


def environments_differ(documents: Sequence[Document]) -> list[str]:
    """One sentence for each fact that keeps these measurements from being compared number by number."""
    benchmarks = [benchmark for benchmark in map(benchmark_of, documents) if benchmark is not None]
    sentences = []
    for fact, pick in _FACTS.items():
        values = list(dict.fromkeys(pick(benchmark) for benchmark in benchmarks))
        if len(values) > 1:
            sentences.append(f"The measurements differ in {fact}: {' | '.join(values)}.")
    return sentences + _instruction_sets_differ(benchmarks)


def _instruction_sets_differ(benchmarks: Sequence[Document]) -> list[str]:
    """The whole list would be long, so only what not all of them have."""
    flags = [set(benchmark["environment"]["flags"]) for benchmark in benchmarks]
    partly = set().union(*flags) - set.intersection(*flags) if flags else set()
    return [f"Only some of the processors have {', '.join(sorted(partly))}."] if partly else []


def _environment(key: str) -> Callable[[Document], str]:
    return lambda benchmark: _shown(benchmark["environment"].get(key))


def _setting(key: str) -> Callable[[Document], str]:
    return lambda benchmark: _shown(benchmark["settings"].get(key))


_FACTS: dict[str, Callable[[Document], str]] = {
    "processor": _environment("cpu_model"),
    "architecture": _environment("arch"),
    "processors it may use": lambda benchmark: str(len(benchmark["environment"]["affinity"])),
    "processor quota": _environment("cpu_quota"),
    "frequency governor": _environment("governor"),
    "virtualisation": _environment("virtualised"),
    "operating system": _environment("os"),
    "onnxruntime version": _environment("onnxruntime"),
    "execution provider": _setting("provider"),
    "threads": _setting("threads"),
    "graph optimisation": _setting("graph_optimization"),
    "thread spinning": _setting("spinning"),
}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _validated(document: Any, source: str) -> Document:
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(kind, str) or kind not in SCHEMAS:
        raise CompressorError(f"{source} is not a run or benchmark document of this tool")
    version = document.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CompressorError(
            f"{source} has schema version {version}, newer than the {SCHEMA_VERSION} known here; upgrade"
        )
    try:
        check(document, SCHEMAS[kind], "")
        if kind == "run" and not document["stages"]:
            raise CompressorError("stages must hold at least the dense network")
    except CompressorError as error:
        raise CompressorError(f"{source} is not a whole {kind} document: {error}") from error
    return document


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _without_nonfinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nonfinite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
