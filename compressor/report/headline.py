"""What a document says in a sentence and in a few lines, a missed target and an open question included."""

from __future__ import annotations

from collections import Counter
from typing import Any

from compressor.report.benchmark_sheets import comparison_for
from compressor.report.documents import Document
from compressor.report.wording import percent, plain, points, scientific, share, verdict

# So many verdicts fit into a headline; more are counted.
FEW = 2


def headline(document: Document) -> str:
    """One honest sentence or two: what was reached, and what was not."""
    return _run_headline(document) if document["kind"] == "run" else _benchmark_headline(document)


def summary_lines(document: Document) -> list[str]:
    """The findings, then every warning, one line of plain text each."""
    return finding_lines(document) + [f"Warning: {plain(warning)}" for warning in all_warnings(document)]


def finding_lines(document: Document) -> list[str]:
    """The headline, then what was proven or each comparison, one line of plain text each."""
    lines = [headline(document)]
    if document["kind"] == "run":
        lines += _proof_lines(document)
    elif len(document["comparisons"]) > FEW:
        lines += [_comparison_line(comparison) for comparison in document["comparisons"]]
    return lines


def all_warnings(document: Document) -> list[str]:
    """The warnings of a document and of the benchmark inside it, each once."""
    inner = document.get("benchmark") or {"warnings": []}
    return list(dict.fromkeys([*document["warnings"], *inner["warnings"]]))


def main_comparison(run: Document) -> dict[str, Any] | None:
    """The comparison that times what the run ended with, at the first batch size."""
    benchmark = run["benchmark"]
    if benchmark is None or not benchmark["comparisons"]:
        return None
    timed = [stage["variant"] for stage in run["stages"] if stage["variant"]]
    batch = benchmark["comparisons"][0]["batch"]
    return comparison_for(benchmark, timed[-1], batch) if timed else None


def final_accuracy(run: Document) -> dict[str, Any] | None:
    """The accuracy of the last stage that has one."""
    measured = [stage["accuracy"] for stage in run["stages"] if stage["accuracy"]]
    return measured[-1] if measured else None


def _run_headline(run: Document) -> str:
    first, last = run["stages"][0], run["stages"][-1]
    parts = [
        f"{share(last['macs'], first['macs'])} of the MACs and "
        f"{share(last['parameters'], first['parameters'])} of the parameters remain",
        _accuracy_part(first["accuracy"], final_accuracy(run)),
        _latency_part(main_comparison(run)),
    ]
    sentence = "; ".join(part for part in parts if part) + "."
    return f"{_target_part(run['target'])}{sentence}"


def _accuracy_part(before: dict[str, Any] | None, after: dict[str, Any] | None) -> str:
    if before is None or after is None:
        return "accuracy was not measured"
    change = points(after["value"] - before["value"])
    return f"accuracy {100 * before['value']:.2f} % → {100 * after['value']:.2f} % ({change})"


def _latency_part(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return "latency was not measured"
    statement = verdict(comparison)
    if comparison["verdict"] == "inconclusive":
        return f"whether it is faster stays open: {statement}"
    return statement


def _target_part(target: dict[str, Any] | None) -> str:
    if target is None or target["met"]:
        return ""
    what = "MACs" if target["kind"] == "macs" else "parameters"
    asked, reached = percent(target["asked"]), percent(target["reached"])
    return f"Target missed: {asked} of the {what} asked, {reached} reached. "


def _benchmark_headline(benchmark: Document) -> str:
    comparisons = benchmark["comparisons"]
    if not comparisons:
        names = ", ".join(plain(variant["name"]) for variant in benchmark["variants"])
        return f"{names}: measured alone, nothing to compare with."
    if len(comparisons) <= FEW:
        return " ".join(map(_comparison_line, comparisons))
    outcomes = Counter(comparison["verdict"] for comparison in comparisons)
    counted = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.items())
    return f"{len(comparisons)} comparisons: {counted}."


def _comparison_line(comparison: dict[str, Any]) -> str:
    names = f"{plain(comparison['variant'])} against {plain(comparison['baseline'])}"
    return f"{names}, batch {comparison['batch']}: {verdict(comparison)}."


def _proof_lines(run: Document) -> list[str]:
    lines = []
    if removal := run["removal"]:
        removed = f"{removal['channels_removed']} of {removal['channels_total']} channels"
        lines.append(
            f"Removing {removed} changed the outputs by "
            f"{scientific(removal['float64'])} in float64 (limit {scientific(removal['float64_limit'])}) and "
            f"{scientific(removal['float32'])} in float32 (limit {scientific(removal['float32_limit'])})."
        )
    if run["gap"] is not None:
        lines.append(f"Gap before projection: {scientific(run['gap'])} of the weights' norm.")
    for export in run["export"]:
        parity = export["parity"]
        lines.append(
            f"ONNX {plain(export['variant'])}: differs from PyTorch by {scientific(parity['norm_rel'])}, "
            f"same top-1 on {percent(parity['top1_agreement'])}."
        )
    return lines + [plain(note) for note in run["notes"]]
