"""The handful of figures at the top of a run's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compressor.report.documents import Document
from compressor.report.headline import final_accuracy, main_comparison
from compressor.report.wording import TONES, Tone, count, percent, points, share, short_verdict, size


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A large value with a name above and a detail below."""

    name: str
    value: str
    detail: str
    tone: Tone = "plain"


def run_figures(run: Document) -> tuple[KeyFigure, ...]:
    """MACs, parameters, size, accuracy and latency, as far as they were measured."""
    first, last = run["stages"][0], run["stages"][-1]
    figures = [
        _kept("MACs kept", run, "macs", count(first["macs"]), count(last["macs"])),
        _kept("Parameters kept", run, "params", count(first["parameters"]), count(last["parameters"])),
    ]
    if bytes_before_after := _sizes(run):
        before, after = bytes_before_after
        figures.append(KeyFigure("Size on disk", share(after, before), f"{size(before)} → {size(after)}"))
    if first["accuracy"] and (accuracy := final_accuracy(run)):
        figures.append(_accuracy(first["accuracy"], accuracy))
    if comparison := main_comparison(run):
        figures.append(_latency(comparison))
    return tuple(figures)


def _kept(name: str, run: Document, kind: str, before: str, after: str) -> KeyFigure:
    key = "macs" if kind == "macs" else "parameters"
    value = share(run["stages"][-1][key], run["stages"][0][key])
    target = run["target"]
    if target is None or target["kind"] != kind:
        return KeyFigure(name, value, f"{before} → {after}")
    outcome = "met" if target["met"] else "missed"
    detail = f"{before} → {after} · target {percent(target['asked'])} {outcome}"
    return KeyFigure(name, value, detail, "good" if target["met"] else "bad")


def _sizes(run: Document) -> tuple[int, int] | None:
    """Bytes of the dense and of the final file, where both are known and of the same kind."""
    if run["benchmark"]:
        stored = {
            v["name"]: v["size"]["onnx_bytes"] + v["size"]["external_bytes"] for v in run["benchmark"]["variants"]
        }
        if {"dense", "small"} <= stored.keys():
            return stored["dense"], stored["small"]
    first, last = run["stages"][0]["size_bytes"], run["stages"][-1]["size_bytes"]
    return (first, last) if first and last else None


def _accuracy(before: dict[str, Any], after: dict[str, Any]) -> KeyFigure:
    detail = f"{100 * before['value']:.2f} % → {100 * after['value']:.2f} %, {after['n']} samples"
    return KeyFigure("Accuracy", points(after["value"] - before["value"]), detail)


def _latency(comparison: dict[str, Any]) -> KeyFigure:
    value, interval = short_verdict(comparison).split(" [")
    detail = f"CI {interval.rstrip(']')} · batch {comparison['batch']}"
    return KeyFigure("Latency", value, detail, TONES[comparison["verdict"]])
