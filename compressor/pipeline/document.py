"""From the stages' figures to the one report document of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from compressor.pipeline.folder import Figures
from compressor.records import RunReport


def run_document(
    figures: Mapping[str, Figures], settings: Mapping[str, Any], command: str, notes: Sequence[str]
) -> RunReport:
    """The report; ``figures`` are those of every stage, by name."""
    tuned, benchmark = figures["fine-tune"], figures["benchmark"]["benchmark"]
    exports = figures["export"]["exports"]
    plain = {
        "kind": "run",
        "started": figures["dense"]["started"],
        "duration_s": round(sum(stage["seconds"] for stage in figures.values()), 2),
        "command": command,
        "settings": dict(settings),
        "stages": _rows(figures),
        "removal": figures["shrink"]["removal"],
        "gap": tuned["gap"],
        "target": tuned["target"],
        "export": exports,
        "layers": figures["shrink"]["layers"],
        "training": [
            *_epochs("fine-tune", tuned["epochs"]),
            *_epochs("recover", figures["recover"]["epochs"]),
        ],
        "benchmark": benchmark,
        "warnings": [*_warnings(figures), *benchmark["warnings"]],
        "notes": list(notes),
    }
    return msgspec.convert(plain, RunReport)


def _rows(figures: Mapping[str, Figures]) -> list[dict[str, Any]]:
    dense, tuned, small = figures["dense"], figures["fine-tune"], figures["shrink"]
    recovered, onnx = figures["recover"], figures["export"]
    zeroed = f"{tuned['channels_zeroed']} of {tuned['channels_total']} channels zero"
    return [
        _row("dense", dense, dense["accuracy"], "", variant="dense"),
        _row("fine-tuned", tuned, tuned["trained"], "end of sparse training"),
        _row("projected", tuned, tuned["projected"], zeroed),
        _row("shrunk", small, small["accuracy"], "BatchNorm re-estimated, channels removed"),
        _row("recovered", recovered, recovered["accuracy"], ""),
        _row("onnx", {**recovered, **onnx}, onnx["accuracy"], "through ONNX Runtime", variant="small"),
    ]


def _row(
    stage: str, figures: Figures, accuracy: Mapping[str, Any], note: str, variant: str | None = None
) -> dict[str, Any]:
    return {
        "stage": stage,
        "metric": accuracy,
        "macs": figures["macs"],
        "parameters": figures["parameters"],
        "size_bytes": figures["size_bytes"],
        "note": note,
        "variant": variant,
    }


def _epochs(phase: str, epochs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"phase": phase, **epoch} for epoch in epochs]


def _warnings(figures: Mapping[str, Figures]) -> list[str]:
    found = []
    for stage in ("fine-tune", "recover"):
        undone = [str(epoch["epoch"]) for epoch in figures[stage]["epochs"] if epoch["lr_halved"]]
        if undone:
            found.append(f"{stage}: training diverged in epoch {', '.join(undone)}; undone, learning rate halved")
    for export in figures["export"]["exports"]:
        if export["fallback"]:
            found.append(f"{export['variant']}.onnx: exported by {export['exporter']}, because {export['fallback']}")
    return found
