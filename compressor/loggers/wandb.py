"""Weights & Biases, as its environment variables say: the project ``compressor``, unless they name another."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path


class WandbLogger:
    """A run of Weights & Biases."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        wandb = import_module("wandb")
        folder.mkdir(parents=True, exist_ok=True)
        project = os.environ.get("WANDB_PROJECT", "compressor")
        self._run = wandb.init(project=project, dir=folder, config=dict(settings))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take in figures by name, at a step of the training."""
        self._run.log(metrics, step=step)

    def save(self) -> None:
        """Nothing: it writes by itself."""

    def finalize(self, status: str) -> None:
        """End with ``success`` or ``failed``."""
        self._run.finish(exit_code=int(status != "success"))
