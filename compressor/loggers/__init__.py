"""Where the figures of a training go while it runs: each logger is in a file of its own and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from compressor.errors import UnknownName, UsageError
from compressor.registry import resolve

if TYPE_CHECKING:
    from compressor.loggers.base import Logger

__all__ = ["LOGGERS", "Log", "logging_to", "require_loggers"]

LOGGERS = {
    "csv": "compressor.loggers.files:csv_logger",
    "mlflow": "compressor.loggers.mlflow:MLflowLogger",
    "tensorboard": "compressor.loggers.files:tensorboard_logger",
    "wandb": "compressor.loggers.wandb:WandbLogger",
}
# Any one of these libraries.
NEEDS = {"mlflow": ("mlflow",), "tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}

Log = Callable[[Mapping[str, float], int], None]
"""Takes figures by name, at a step of a training."""


def require_loggers(names: Sequence[str]) -> None:
    """Raise `UnknownName` for a logger that is none, `UsageError` for one whose library is not installed."""
    for name in names:
        if name not in LOGGERS:
            raise UnknownName("logger", name, LOGGERS)
        needs = NEEDS.get(name, ())
        if needs and not any(find_spec(library) for library in needs):
            raise UsageError(f"--log {name} needs {needs[0]}, which is not installed: pip install {needs[0]}")


@contextmanager
def logging_to(names: Sequence[str], folder: Path, settings: Mapping[str, object]) -> Iterator[Log | None]:
    """Yield what sends figures to all loggers of these ``names``, which end after the block; None without any.

    Those that write files write into ``folder``. They are told the ``settings`` of the training.
    """
    require_loggers(names)
    with ExitStack() as open_ones:
        loggers: list[Logger] = [resolve("logger", LOGGERS, name)(folder, settings) for name in names]
        for logger in loggers:
            open_ones.push(lambda kind, *_, logger=logger: logger.finalize("success" if kind is None else "failed"))

        def log(figures: Mapping[str, float], step: int) -> None:
            for logger in loggers:
                logger.log_metrics(dict(figures), step)
                logger.save()

        yield log if loggers else None
