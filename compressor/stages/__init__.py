"""The stages, one a file: explicit inputs, a frozen record out, nothing printed.

The command of the same name, ``compress run`` and the Python API all call the one function. `STAGES` is the only place
that knows the order in a run; it imports nothing heavy, for the command line.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage is called, the files that it writes into the run folder, and its rows in the report."""

    name: str
    title: str
    files: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


GROUPS, TEACHER = "groups.safetensors", "teacher.safetensors"
RE_ESTIMATED = "re-estimated"

STAGES = (
    Stage(
        name="dense",
        title="Evaluating the dense network",
        files=("dense.pt", GROUPS),
        rows=("dense",),
    ),
    Stage(
        name="fine-tune",
        title="Fine-tuning with the penalty",
        files=("sparse.pt", "fine-tune.jsonl", TEACHER),
        rows=("fine-tuned", "projected", RE_ESTIMATED),
    ),
    Stage(name="shrink", title="Removing zero channels", files=("shrunk.pt",), rows=("shrunk",)),
    Stage(name="recover", title="Recovering", files=("recovered.pt", "recover.jsonl"), rows=("recovered",)),
    Stage(
        name="export",
        title="Exporting to ONNX",
        files=("dense.onnx", "small.onnx", "dense.onnx.data", "small.onnx.data"),
        rows=("onnx",),
    ),
    Stage(name="benchmark", title="Measuring latency"),
)
ROWS = {stage.name: stage.rows for stage in STAGES}
TITLES = {stage.name: stage.title for stage in STAGES}
REPORTS = ("report.json", "report.html", "report.md")
