"""One class of several for each sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.errors import DataError, UsageError
from compressor.tasks.base import Found, Task
from compressor.tasks.scores import Hits
from compressor.tasks.shapes import shape_of

TEMPERATURE = 2.0


@dataclass(frozen=True)
class Classification(Task):
    """Class scores (samples x classes) against one label each: cross-entropy, accuracy.

    A batch is (inputs, labels), int64 (samples,); in training labels may also be shares of the classes, float (samples,
    classes), as mixed samples have them. ``class_weights`` weigh the loss of each class, and
    ``label_smoothing`` is the share of a label that goes to all classes alike.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    primary = "accuracy"
    unit = "share"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing:g}")
        if self.class_weights is not None and not all(weight >= 0 for weight in self.class_weights):
            raise UsageError(f"class_weights must be 0 or more, got {list(self.class_weights)}")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Cross-entropy."""
        logits, labels = self.outputs(model, batch), batch[1]
        weights = weights_on(self.class_weights, logits)
        if not labels.is_floating_point():
            return F.cross_entropy(logits, labels, weights, label_smoothing=self.label_smoothing)
        if labels.ndim != 2 or labels.shape[1] > logits.shape[1]:
            raise DataError(
                f"labels are {shape_of(labels)}; the network tells {logits.shape[1]} classes apart: give the number of "
                "each sample's class, or its shares of the classes"
            )
        # A network may tell more classes apart than the data have.
        labels = F.pad(labels, (0, logits.shape[1] - labels.shape[1]))
        total = F.cross_entropy(logits, labels, weights, label_smoothing=self.label_smoothing, reduction="sum")
        # The weights add up as those of plain labels do; torch divides by the number of samples.
        return total / (len(labels) if weights is None else (labels @ weights).sum())

    def metrics(self, model: nn.Module, batches: Iterable[Any]) -> Found:
        """Accuracy."""
        right = []
        for batch in batches:
            logits, labels = self.outputs(model, batch), batch[1]
            if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(labels):
                raise DataError(
                    f"the network returns {shape_of(logits)} for {len(labels)} images; "
                    "class scores (images x classes) are needed"
                )
            right.append(logits.argmax(1).cpu() == labels.cpu())
        return {"accuracy": Hits(torch.cat(right))}

    def match(self, outputs: Any, wanted: Any) -> Tensor:
        """The divergence of softened classes: Hinton et al., "Distilling the knowledge in a neural network", 2015.

        Its gradients do not depend on the temperature.
        """
        soft = F.softmax(wanted / TEMPERATURE, dim=1)
        divergence = F.kl_div(F.log_softmax(outputs / TEMPERATURE, dim=1), soft, reduction="batchmean")
        return TEMPERATURE**2 * divergence

    def distance(self, outputs: Any, wanted: Any) -> Tensor:
        """The divergence of the probabilities of classes."""
        given, dense = outputs.log_softmax(1), wanted.log_softmax(1)
        return F.kl_div(given, dense, reduction="batchmean", log_target=True)


CLASSIFICATION = Classification()


def weights_on(weights: Sequence[float] | None, outputs: Tensor) -> Tensor | None:
    """``weights`` beside ``outputs`` (samples, classes, ...); `UsageError` where there is not one for each class."""
    if weights is None:
        return None
    if len(weights) != outputs.shape[1]:
        raise UsageError(
            f"class_weights has {len(weights)} weights, the network tells {outputs.shape[1]} classes apart"
        )
    return torch.tensor(weights, dtype=outputs.dtype, device=outputs.device)
