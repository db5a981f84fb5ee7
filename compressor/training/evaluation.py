"""Accuracy with its confidence interval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from compressor.data.batches import batches
from compressor.data.normalization import Normalization
from compressor.data.samples import Samples
from compressor.equivalence import eval_mode
from compressor.errors import DataError
from compressor.records import Metric, Outcomes

Predict = Callable[[Tensor], Tensor]


def accuracy_of(share: float, n: int) -> Metric:
    """The ``share`` of ``n`` samples whose class is right, with Wilson's 95 % score interval."""
    z, p = 1.959964, share
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Metric(value=share, n=n, ci95=(max(0.0, middle - half), min(1.0, middle + half)))


def accuracy(
    predict: Predict,
    samples: Samples,
    normalization: Normalization | None,
    *,
    batch_size: int = 256,
    outcomes: bool = False,
) -> Metric:
    """Accuracy of ``predict``, which maps images (batch, c, h, w) to logits (batch, classes).

    With ``outcomes`` the metric also holds which samples it got right.
    """
    if not len(samples):
        raise DataError("there are no samples to evaluate on; choose another part or a larger --val-fraction")
    right = []
    for images, labels in batches(samples, batch_size=batch_size, normalization=normalization):
        logits = predict(images)
        if logits.ndim != 2 or len(logits) != len(labels):
            raise DataError(
                f"the network returns {'x'.join(map(str, logits.shape))} for {len(labels)} images; "
                "class scores (images x classes) are needed"
            )
        right.append(logits.argmax(1).cpu() == labels)
    hits = torch.cat(right)
    metric = accuracy_of(int(hits.sum()) / len(samples), len(samples))
    return replace(metric, outcomes=_outcomes(samples, hits)) if outcomes else metric


def _outcomes(samples: Samples, hits: Tensor) -> Outcomes:
    return Outcomes(samples=_fingerprint(samples), right=np.packbits(hits.numpy()).tobytes())


def _fingerprint(samples: Samples) -> str:
    """SHA-256 of images and labels, in their order."""
    digest = hashlib.sha256(str(tuple(samples.images.shape)).encode())
    for tensor in (samples.images, samples.labels):
        digest.update(tensor.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def model_accuracy(
    model: nn.Module, samples: Samples, normalization: Normalization | None, *, outcomes: bool = False
) -> Metric:
    """Accuracy of a PyTorch network on the device it lies on; its train/eval mode is restored."""
    device = next(model.parameters()).device

    def predict(images: Tensor) -> Tensor:
        logits: Tensor = model(images.to(device))
        return logits

    with eval_mode(model), torch.no_grad():
        return accuracy(predict, samples, normalization, outcomes=outcomes)
