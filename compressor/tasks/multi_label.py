"""Any number of labels for each sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.errors import UsageError
from compressor.tasks.base import Found, Task
from compressor.tasks.classification import weights_on
from compressor.tasks.scores import Hits, Scores
from compressor.tasks.shapes import same_shape


@dataclass(frozen=True)
class MultiLabel(Task):
    """Scores (samples x labels) against any number of labels each: binary cross-entropy, F1.

    A batch is (inputs, labels), of zeros and ones (samples, labels). ``class_weights`` weigh the samples that have a
    label in its loss, and ``label_smoothing`` draws labels to one half.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None

    primary = "F1"
    unit = "share"

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing:g}")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Binary cross-entropy, the mean over samples and labels."""
        scores, labels = same_shape(self.outputs(model, batch), batch[1])
        smooth = labels * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(scores, smooth, pos_weight=weights_on(self.class_weights, scores))

    def metrics(self, model: nn.Module, batches: Iterable[Any]) -> Found:
        """F1 over all samples and labels together, and the share of samples whose labels are all right."""
        counts, right = [], []
        for batch in batches:
            scores, labels = same_shape(self.outputs(model, batch), batch[1])
            said, true = scores > 0, labels > 0.5
            wrong = (said != true).flatten(1)
            counts.append(torch.stack([(said & true).flatten(1).sum(1), wrong.sum(1)], 1).cpu())
            right.append(~wrong.any(1).cpu())
        return {"F1": Scores(torch.cat(counts), _f1), "exact match": Hits(torch.cat(right))}

    def match(self, outputs: Any, wanted: Any) -> Tensor:
        """The divergence of the probabilities of labels, the mean over samples and labels."""
        truth = wanted.sigmoid()
        return F.binary_cross_entropy_with_logits(outputs, truth) - F.binary_cross_entropy(truth, truth)


def _f1(means: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN); 1 where there is neither a label nor one that was said."""
    hits, wrong = 2 * means[..., 0], means[..., 1]
    return torch.where(hits + wrong > 0, hits / (hits + wrong).clamp_min(1e-12), 1.0)
