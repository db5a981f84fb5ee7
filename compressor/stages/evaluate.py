"""How well a network, or an ONNX file, does on a data set."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

from compressor.checkpoints import Network
from compressor.data.normalization import Normalization
from compressor.data.samples import DataSet, Samples
from compressor.evaluating import onnx_accuracy
from compressor.records.stages import Evaluation
from compressor.stages.fit import check_fit
from compressor.training.evaluation import model_accuracy

Part = Literal["test", "val", "train"]


def evaluate(network: Network, data: DataSet, *, part: Part = "test", device: str | None = None) -> Evaluation:
    """Accuracy of ``network`` on one part of ``data``; ``device`` None is the one that it lies on.

    `DataError` when the data do not fit the network, or the part is empty.
    """
    check_fit(network, data)
    model = network.model if device is None else copy.deepcopy(network.model).to(device)
    metric = model_accuracy(model, _samples(data, part), network.metadata.normalization)
    return Evaluation(data=data.ref, part=part, metric=metric)


def evaluate_onnx(path: Path, data: DataSet, normalization: Normalization | None, *, part: Part = "test") -> Evaluation:
    """The same of an ONNX file, through ONNX Runtime on the CPU."""
    metric = onnx_accuracy(path, _samples(data, part), normalization)
    return Evaluation(data=data.ref, part=part, metric=metric)


def _samples(data: DataSet, part: Part) -> Samples:
    return {"test": data.test, "val": data.val, "train": data.train}[part]
