"""How well a network does on a data set, or an ONNX file, which is fed by what it knows itself."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from compressor.checkpoints import DataChoice, Network
from compressor.data.normalization import Normalization
from compressor.data.samples import DataSet, Samples
from compressor.errors import CheckpointError, first_line
from compressor.records import Metric
from compressor.records.stages import Evaluation
from compressor.runtime import open_session
from compressor.stages.samples import check_fit
from compressor.training.evaluation import accuracy, model_accuracy

Part = Literal["test", "val", "train"]
ENTRIES = ("input_shape", "normalization", "classes", "data")


def evaluate(network: Network, data: DataSet, *, part: Part = "test", device: str | None = None) -> Evaluation:
    """Accuracy of ``network`` on one part of ``data``; ``device`` None is the one that it lies on.

    `DataError` when the data do not fit the network, or the part is empty.
    """
    check_fit(network, data)
    model = network.model if device is None else copy.deepcopy(network.model).to(device)
    metric = model_accuracy(model, _samples(data, part), network.metadata.normalization, outcomes=True)
    return Evaluation(data=data.ref, part=part, metric=metric)


def evaluate_onnx(path: Path, data: DataSet, normalization: Normalization | None, *, part: Part = "test") -> Evaluation:
    """The same of an ONNX file, through ONNX Runtime on the CPU."""
    metric = onnx_accuracy(path, _samples(data, part), normalization)
    return Evaluation(data=data.ref, part=part, metric=metric)


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file of ours knows; None for what it does not."""

    input_shape: tuple[int, ...] | None
    normalization: Normalization | None
    classes: tuple[str, ...] | None
    data: DataChoice | None


def onnx_facts(path: Path) -> OnnxFacts:
    """Read the metadata of an ONNX file; the input shape falls back to the graph's own."""
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; an .onnx file is needed")
    session = open_session(path)
    known = session.get_modelmeta().custom_metadata_map
    try:
        entries: dict[str, Any] = {
            entry: json.loads(known[f"compressor.{entry}"]) for entry in ENTRIES if f"compressor.{entry}" in known
        }
        normalization = entries.get("normalization")
        shape = entries.get("input_shape") or session.get_inputs()[0].shape[1:]
        return OnnxFacts(
            input_shape=tuple(shape) if all(isinstance(size, int) for size in shape) else None,
            normalization=Normalization.from_plain(normalization) if normalization else None,
            classes=tuple(entries["classes"]) if entries.get("classes") else None,
            data=DataChoice.from_plain(entries.get("data")),
        )
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error}") from error


def onnx_accuracy(path: Path, samples: Samples, normalization: Normalization | None) -> Metric:
    """Accuracy of an ONNX classifier, with its outcomes, through ONNX Runtime on the CPU."""
    session = open_session(path)
    name = session.get_inputs()[0].name

    def predict(images: Tensor) -> Tensor:
        try:
            return torch.from_numpy(session.run(None, {name: images.numpy()})[0])
        except Exception as error:  # ONNX Runtime raises its own kinds
            reason = first_line(error)
            raise CheckpointError(f"{path} does not accept these images: {reason}") from error

    return accuracy(predict, samples, normalization, outcomes=True)


def _samples(data: DataSet, part: Part) -> Samples:
    return {"test": data.test, "val": data.val, "train": data.train}[part]
