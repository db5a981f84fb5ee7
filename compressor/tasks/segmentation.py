"""One class of several for each pixel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.errors import DataError
from compressor.tasks.base import Found, Task
from compressor.tasks.classification import weights_on
from compressor.tasks.scores import Scores
from compressor.tasks.shapes import shape_of


@dataclass(frozen=True)
class Segmentation(Task):
    """Class scores (samples x classes x height x width) against a label a pixel: cross-entropy, mean IoU.

    A batch is (inputs, labels), int64 (samples, height, width); of a network that returns a dict, as torchvision's do,
    "out" counts. Pixels of the label ``ignore_index`` do not count. ``class_weights`` weigh the loss of each class.
    """

    ignore_index: int = 255
    class_weights: Sequence[float] | None = None

    primary = "mean IoU"
    unit = "share"

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """The class scores."""
        said = super().outputs(model, batch)
        return said["out"] if isinstance(said, Mapping) and "out" in said else said

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Cross-entropy, the mean over pixels."""
        scores, labels = _fitting(self.outputs(model, batch), batch[1])
        weights = weights_on(self.class_weights, scores)
        return F.cross_entropy(scores, labels, weights, ignore_index=self.ignore_index)

    def metrics(self, model: nn.Module, batches: Iterable[Any]) -> Found:
        """The mean over classes of intersection over union, and the share of pixels that are right.

        Both of all pixels together; a class that is neither there nor said does not count.
        """
        overlaps = []
        for batch in batches:
            scores, labels = _fitting(self.outputs(model, batch), batch[1])
            overlaps.append(self._overlaps(scores.argmax(1), labels, scores.shape[1]).cpu())
        counts = torch.cat(overlaps)
        return {"mean IoU": Scores(counts, _mean_iou), "pixel accuracy": Scores(counts, _pixel_accuracy)}

    def match(self, outputs: Any, wanted: Any) -> Tensor:
        """The divergence of the probabilities of classes, the mean over pixels."""
        said, truth = outputs.log_softmax(1), wanted.log_softmax(1)
        pixels: float = said.numel() / said.shape[1]
        divergence: Tensor = F.kl_div(said, truth, reduction="sum", log_target=True) / pixels
        return divergence

    def _overlaps(self, said: Tensor, labels: Tensor, classes: int) -> Tensor:
        """Pixels of each sample and class that are right, said and true: (samples, classes, 3)."""
        counted = (labels != self.ignore_index).flatten(1)
        said, labels = said.flatten(1), labels.flatten(1)
        found = []
        for each in range(classes):
            is_said, is_true = (said == each) & counted, labels == each
            found.append(torch.stack([(is_said & is_true).sum(1), is_said.sum(1), is_true.sum(1)], 1))
        return torch.stack(found, 1)


def _fitting(scores: Any, labels: Any) -> tuple[Tensor, Tensor]:
    """`DataError` unless both are of the same pixels."""
    if not isinstance(scores, Tensor) or not isinstance(labels, Tensor) or scores[:, 0].shape != labels.shape:
        raise DataError(
            f"the network returns {shape_of(scores)} for labels of {shape_of(labels)}; class scores (samples x classes "
            "x height x width) and labels (samples x height x width) are needed"
        )
    return scores, labels.long()


def _mean_iou(means: Tensor) -> Tensor:
    right, union = means[..., 0], means[..., 1] + means[..., 2] - means[..., 0]
    there = union > 0
    return (right / union.clamp_min(1e-12) * there).sum(-1) / there.sum(-1).clamp_min(1)


def _pixel_accuracy(means: Tensor) -> Tensor:
    return means[..., 0].sum(-1) / means[..., 2].sum(-1).clamp_min(1e-12)
