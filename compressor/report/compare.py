"""Several documents side by side, and the gates that can fail a build."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compressor.report.benchmark_sheets import comparison_for, stored_bytes
from compressor.report.documents import Document, benchmark_of, environments_differ
from compressor.report.headline import all_warnings, final_accuracy
from compressor.report.wording import plain, points

Labelled = Sequence[tuple[str, Document]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One network of one document; ``comparison`` is against the baseline of the same document."""

    label: str
    variant: str
    accuracy: dict[str, Any] | None
    macs: float | None
    parameters: int | None
    size_bytes: int | None
    batch: int | None
    p50_ms: float | None
    comparison: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SideBySide:
    """Rows in the order of the documents, and why some of them may not be comparable."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


def compare(labelled: Labelled) -> SideBySide:
    """Put any number of run and benchmark documents side by side; each comes with its label."""
    documents = [document for _, document in labelled]
    rows = tuple(row for label, document in labelled for row in _rows(label, document))
    warnings = [*environments_differ(documents), *_data_differs(documents)]
    warnings += [f"{plain(label)}: {text}" for label, document in labelled for text in all_warnings(document)]
    return SideBySide(rows=rows, warnings=tuple(warnings))


def check_gates(old: Document, new: Document, *, max_drop: float | None, min_speedup: float | None) -> list[str]:
    """One sentence for each gate that ``new`` fails, empty when it passes.

    ``max_drop`` is in accuracy points against ``old``, ``min_speedup`` a factor against the baseline that
    ``new`` was timed with. Both hold only if the unfavourable end of the 95 % interval holds; what was not
    measured fails.
    """
    failures: list[str] = []
    if max_drop is not None:
        failures += _drop_failures(old, new, max_drop)
    if min_speedup is not None:
        failures += _speedup_failures(new, min_speedup)
    return failures


def drop_bound(old: dict[str, Any], new: dict[str, Any]) -> float:
    """Upper end of the 95 % interval of ``old - new``, in accuracy points.

    Newcombe's hybrid of the two single intervals: "Interval estimation for the difference between independent
    proportions", Statistics in Medicine 17, 1998, method 10. Careful when both saw the same samples.
    """
    drop = old["value"] - new["value"]
    reach = math.hypot(old["ci95"][1] - old["value"], new["value"] - new["ci95"][0])
    return float(100 * (drop + reach))


def _drop_failures(old: Document, new: Document, max_drop: float) -> Iterator[str]:
    before, after = _accuracy_with_interval(old), _accuracy_with_interval(new)
    if before is None or after is None:
        which = "old" if before is None else "new"
        yield f"max-drop {max_drop:g} cannot be checked: the {which} document has no accuracy interval"
        return
    bound = drop_bound(before, after)
    if bound > max_drop:
        yield (
            f"accuracy changed by {points(after['value'] - before['value'])}, but with {after['n']} samples "
            f"a drop of up to {bound:.2f} lies within the 95 % interval; {max_drop:g} is allowed"
        )


def _accuracy_with_interval(document: Document) -> dict[str, Any] | None:
    figure = final_accuracy(document) if document["kind"] == "run" else None
    return figure if figure and figure["ci95"] else None


def _speedup_failures(new: Document, min_speedup: float) -> Iterator[str]:
    benchmark = benchmark_of(new)
    comparisons = benchmark["comparisons"] if benchmark else []
    if not comparisons:
        yield f"the new document has no timed comparison, so min-speedup {min_speedup:g} cannot be checked"
    for comparison in comparisons:
        low = comparison["speedup_ci95"][0]
        if low < min_speedup:
            names = f"{plain(comparison['variant'])} against {plain(comparison['baseline'])}"
            yield (
                f"{names}, batch {comparison['batch']}: measured {comparison['speedup']:.2f}x as fast, "
                f"but the 95 % interval begins at {low:.2f}x; {min_speedup:g}x is required"
            )


def _rows(label: str, document: Document) -> Iterator[Row]:
    benchmark = benchmark_of(document)
    if document["kind"] == "run":
        yield from _run_rows(label, document, benchmark)
    elif benchmark is not None:
        for variant in benchmark["variants"]:
            for latency in variant["latency"]:
                yield _timed_row(label, benchmark, variant, latency)


def _timed_row(label: str, benchmark: Document, variant: dict[str, Any], latency: dict[str, Any]) -> Row:
    return Row(
        label=label,
        variant=variant["name"],
        accuracy=None,
        macs=variant["macs"],
        parameters=variant["parameters"],
        size_bytes=stored_bytes(variant),
        batch=latency["batch"],
        p50_ms=latency["p50_ms"],
        comparison=comparison_for(benchmark, variant["name"], latency["batch"]),
    )


def _run_rows(label: str, run: Document, benchmark: Document | None) -> Iterator[Row]:
    """The dense network and what became of it."""
    first, last = run["stages"][0], run["stages"][-1]
    for stage, accuracy in ((first, first["accuracy"]), (last, final_accuracy(run))):
        variant, latency = _timing(benchmark, stage["variant"])
        batch = latency["batch"] if latency else None
        yield Row(
            label=label,
            variant=stage["variant"] or stage["stage"],
            accuracy=accuracy,
            macs=stage["macs"],
            parameters=stage["parameters"],
            size_bytes=stored_bytes(variant) if variant else stage["size_bytes"],
            batch=batch,
            p50_ms=latency["p50_ms"] if latency else None,
            comparison=comparison_for(benchmark, stage["variant"], batch) if benchmark and batch else None,
        )


def _timing(benchmark: Document | None, name: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    for variant in benchmark["variants"] if benchmark else []:
        if variant["name"] == name and variant["latency"]:
            return variant, variant["latency"][0]
    return None, None


def _data_differs(documents: Sequence[Document]) -> list[str]:
    runs = [document for document in documents if document["kind"] == "run"]
    data = list(dict.fromkeys(plain(run["settings"].get("data", "unknown")) for run in runs))
    sizes = {figure["n"] for run in runs if (figure := final_accuracy(run))}
    sentences = []
    if len(data) > 1:
        sentences.append(f"The accuracies were measured on different data: {' | '.join(data)}.")
    elif len(sizes) > 1:
        shown = " | ".join(map(str, sorted(sizes)))
        sentences.append(f"The accuracies were measured on different numbers of samples: {shown}.")
    return sentences
