"""What a network is trained for: its loss, its metric and what it is called with; one task a file.

A new one is a file and a line in `TASKS`. A user's own is a class in a file or module of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressor.errors import UnknownName, UsageError
from compressor.registry import resolve
from compressor.tasks.base import Task
from compressor.tasks.scores import Hits, Scores
from compressor.user_code import Kind, called, made_by

__all__ = ["TASKS", "Hits", "Scores", "Task", "load_task"]

TASKS = {
    "classification": "compressor.tasks.classification:Classification",
    "multi-label": "compressor.tasks.multi_label:MultiLabel",
    "regression": "compressor.tasks.regression:Regression",
    "segmentation": "compressor.tasks.segmentation:Segmentation",
}
KIND = Kind("task", "class", "--task-arg")
METHODS = ("inputs", "loss", "metrics", "outputs", "match", "distance")


def load_task(ref: str, args: Mapping[str, Any] | None = None) -> Task:
    """The task ``ref``: a name of `TASKS`, ``file.py:Class`` or ``package.module:Class``, made with ``args``.

    The last two run the user's own code. `UsageError` for one that cannot be made, or lacks what a task needs.
    """
    if ref in TASKS:
        built_in: Task = called(KIND, resolve("task", TASKS, ref), ref, args or {})
        return built_in
    if ":" not in ref:
        raise UnknownName("task", ref, TASKS)
    task: Task = made_by(KIND, ref, args or {})
    _require_whole(task, ref)
    return task


def _require_whole(task: Any, ref: str) -> None:
    lacking = [name for name in METHODS if not callable(getattr(task, name, None))]
    left = [name for name in ("loss", "metrics") if getattr(type(task), name, None) is getattr(Task, name)]
    if lacking or left:
        need = ", ".join(lacking or left)
        advice = "" if left else "; derive it from compressor.tasks.Task, which has all but loss and metrics"
        raise UsageError(f"task {ref} has no {need}{advice}")
    if not isinstance(getattr(task, "primary", None), str) or not task.primary:
        raise UsageError(f"task {ref} does not say which of its metrics counts; give it a name: primary = 'mAP'")
    for name, kind in (("larger_is_better", bool), ("unit", str)):
        if not isinstance(getattr(task, name, None), kind):
            raise UsageError(f"task {ref}: {name} must be a {kind.__name__}, got {getattr(task, name, None)!r:.80}")
