"""Numbers for each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.errors import UsageError
from compressor.tasks.base import Found, Task
from compressor.tasks.scores import Scores
from compressor.tasks.shapes import same_shape

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


@dataclass(frozen=True)
class Regression(Task):
    """Numbers against numbers of the same shape: mean squared error, RMSE.

    A batch is (inputs, targets). ``error`` is what is trained: mse, mae or huber.
    """

    error: str = "mse"

    primary = "RMSE"
    larger_is_better = False

    def __post_init__(self) -> None:
        if self.error not in LOSSES:
            raise UsageError(f"error must be one of {', '.join(LOSSES)}, got {self.error!r}")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The error, the mean over all numbers."""
        return LOSSES[self.error](*same_shape(self.outputs(model, batch), batch[1]))

    def metrics(self, model: nn.Module, batches: Iterable[Any]) -> Found:
        """The root of the mean squared error, and the mean absolute error."""
        squared, absolute = [], []
        for batch in batches:
            given, wanted = same_shape(self.outputs(model, batch), batch[1])
            difference = (given - wanted).double().flatten(1) if given.ndim > 1 else (given - wanted).double()[:, None]
            squared.append(difference.square().mean(1).cpu())
            absolute.append(difference.abs().mean(1).cpu())
        return {"RMSE": Scores(torch.cat(squared), torch.sqrt), "MAE": Scores(torch.cat(absolute))}

    def match(self, outputs: Any, wanted: Any) -> Tensor:
        """The same error, from what the teacher says."""
        return LOSSES[self.error](outputs, wanted)
