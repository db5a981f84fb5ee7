"""Loggers of Lightning Fabric, which write files; every training gets a folder ``version_N`` of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lightning_fabric.loggers.csv_logs import CSVLogger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger


def csv_logger(folder: Path, settings: Mapping[str, object]) -> CSVLogger:
    """A table, metrics.csv."""
    return CSVLogger(folder, name="csv", flush_logs_every_n_steps=1)


def tensorboard_logger(folder: Path, settings: Mapping[str, object]) -> TensorBoardLogger:
    """Events for TensorBoard."""
    logger = TensorBoardLogger(folder, name="tensorboard")
    logger.log_hyperparams({name: str(value) for name, value in settings.items()})
    return logger
