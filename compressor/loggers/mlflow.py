"""MLflow, where its environment variables say, else in a database in the folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path


class MLflowLogger:
    """A run of MLflow, of the experiment ``compressor`` unless MLFLOW_EXPERIMENT_NAME names another."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        mlflow = import_module("mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            folder.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{(folder / 'mlflow.db').absolute()}"
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "compressor")
        known = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if known is None else known.experiment_id
        self._run = self._client.create_run(experiment).info.run_id
        for key, value in settings.items():
            self._client.log_param(self._run, key, value)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Take in figures by name, at a step of the training."""
        for name, value in metrics.items():
            self._client.log_metric(self._run, name, value, step=step)

    def save(self) -> None:
        """Nothing: it writes by itself."""

    def finalize(self, status: str) -> None:
        """End with ``success`` or ``failed``."""
        self._client.set_terminated(self._run, "FINISHED" if status == "success" else "FAILED")
