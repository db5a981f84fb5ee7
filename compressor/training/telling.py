"""What people and loggers are told of a training while it goes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from compressor.loggers import Log
from compressor.progress import Progress
from compressor.records import Metric
from compressor.records.run import Epoch
from compressor.splitting.base import SplittingBase
from compressor.training.pace import Pace, numbers_of

# Steps between figures for loggers, besides those of every epoch.
LOG_EVERY = 50
# Seconds between lines of progress.
TELL_EVERY = 0.2


class Telling:
    """Of a training of so many epochs and steps; ``accuracy`` is what was validated last, in words."""

    def __init__(
        self,
        epochs: int,
        steps: int,
        device: torch.device,
        splitting: SplittingBase | None,
        progress: Progress,
        log: Log | None,
    ) -> None:
        self._epochs, self._steps, self._splitting = epochs, steps, splitting
        self._progress, self._log = progress, log
        self._last, self._pace_of_pass = -math.inf, dict[str, float]()
        self.pace, self.accuracy = Pace(device), ""

    def step(self, number: int, step: int, loss: Callable[[], float], rate: float, samples: int) -> None:
        """A step of the ``number``-th epoch was done, for so many samples.

        ``loss`` makes a GPU wait, so it is not read more often than people can read.
        """
        self.pace.step(samples)
        if time.monotonic() - self._last > TELL_EVERY or step == self._steps:
            self._progress(step / self._steps, self._line(number, loss()))
            self._last = time.monotonic()
        if self._log is not None and step % LOG_EVERY == 0:
            self._log({"loss": loss(), "learning_rate": rate}, step)

    def passed(self, step: int) -> None:
        """All samples were gone through; what comes until `epoch` is not training."""
        self._pace_of_pass = self.pace.figures(self._steps - step) if self._log is not None else {}

    def validated(self, metric: Metric | None) -> None:
        """That is what the lines of progress say from now on."""
        self.accuracy = "" if metric is None else _shown(metric)

    def epoch(self, epoch: Epoch, step: int, rate: float) -> None:
        """An epoch ended, or was undone."""
        if self._log is not None:
            self._log({**numbers_of(epoch), **self._pace_of_pass, "learning_rate": rate}, step)

    def _line(self, number: int, loss: float) -> str:
        parts = [f"epoch {number}/{self._epochs}", f"loss {loss:.3f}", self.accuracy]
        if self._splitting is not None and self._splitting.macs_kept is not None:
            parts.append(f"MACs kept {100 * self._splitting.macs_kept:.0f} %")
        return "  ".join(part for part in parts if part)


def _shown(metric: Metric) -> str:
    if metric.unit == "share":
        return f"{metric.name} {100 * metric.value:.1f} %"
    return f"{metric.name} {metric.value:.4g} {metric.unit}".rstrip()
