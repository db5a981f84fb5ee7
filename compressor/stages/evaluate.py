"""How well a network does on a data set, or an ONNX file, which is fed by what it knows itself."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, ValueInfoProto
from torch import nn

from compressor.benchmarking import try_out
from compressor.checkpoints import DataChoice, Network
from compressor.codec import decode
from compressor.data.feeds import Data, feed_of
from compressor.data.loaders import Loaders, Part
from compressor.data.normalization import Normalization
from compressor.errors import CheckpointError, CompressorError
from compressor.onnx_safety import read_model
from compressor.records.stages import Evaluation
from compressor.stages.onnx_model import given_by, onnx_model
from compressor.stages.samples import check_fit
from compressor.training.evaluation import measure_all

ENTRIES: dict[str, Any] = {
    "input_shape": tuple[int, ...],
    "normalization": dict[str, list[float]],
    "classes": tuple[str, ...],
    "data": dict[str, Any],
}


def evaluate(network: Network, data: Data, *, part: Part = "test", device: str | None = None) -> Evaluation:
    """The metrics of ``network`` on one part of ``data``; ``device`` None is the one that it lies on.

    `DataError` when the data do not fit the network, or the part is empty.
    """
    check_fit(network, data)
    model = network.model if device is None else copy.deepcopy(network.model).to(device)
    return _evaluation(model, data, part, network.metadata.normalization)


def evaluate_onnx(
    path: Path,
    data: Data,
    normalization: Normalization | None,
    *,
    part: Part = "test",
    like: Network | None = None,
) -> Evaluation:
    """The same of an ONNX file, through ONNX Runtime on the CPU.

    It is called, and returns what it gives, ``like`` the network that it was made of; without that it takes tensors in
    their order or by name, and returns a tensor, a tuple of several, or a dict where the file has names for them.
    """
    with onnx_model(path, data, like) as model:
        return _evaluation(model, data, part, normalization)


def _evaluation(model: nn.Module, data: Data, part: Part, normalization: Normalization | None) -> Evaluation:
    metric, *others = measure_all(model, feed_of(data, normalization), part, outcomes=True)
    return Evaluation(data=data.ref, part=part, metric=metric, others=tuple(others))


@dataclass(frozen=True)
class OnnxFacts:
    """What an ONNX file of ours knows; None for what it does not."""

    input_shape: tuple[int, ...] | None
    normalization: Normalization | None
    classes: tuple[str, ...] | None
    data: DataChoice | None


def onnx_facts(path: Path, data: Loaders | None = None) -> OnnxFacts:
    """Read the metadata of an ONNX file of unknown origin; the input shape falls back to the graph's own.

    The file is checked and tried out in a process of its own: `CheckpointError` when it cannot be opened or run.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; an .onnx file is needed")
    checked = read_model(path)
    if not checked.model.graph.output or _first_input(checked.model) is None:
        raise CheckpointError(f"{path} has no input or no output; there is nothing to evaluate")
    entries = {entry.key: entry.value.encode() for entry in checked.model.metadata_props}
    try:
        known = {
            entry: decode(entries.get(f"compressor.{entry}", b"null"), kind | None, f"compressor.{entry}")
            for entry, kind in ENTRIES.items()
        }
        normalization, classes = known["normalization"], known["classes"]
        facts = OnnxFacts(
            input_shape=_sized(known["input_shape"] or _input_shape(checked.model)),
            normalization=None if normalization is None else Normalization.from_plain(normalization),
            classes=classes or None,
            data=DataChoice.from_plain(known["data"]),
        )
    except (CompressorError, ValueError) as error:
        raise CheckpointError(f"{path} has damaged metadata: {error}") from error
    try_out(path, checked.external, facts.input_shape, () if data is None else given_by(data))
    return facts


def _sized(shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if shape is not None and min(shape) < 1:
        raise ValueError(f"the input shape {shape} has a size below 1")
    return shape


def _first_input(model: ModelProto) -> ValueInfoProto | None:
    given = {tensor.name for tensor in model.graph.initializer}
    return next((entry for entry in model.graph.input if entry.name not in given), None)


def _input_shape(model: ModelProto) -> tuple[int, ...] | None:
    """The shape of the first input without its batch, where it is fixed."""
    first = _first_input(model)
    sizes = first.type.tensor_type.shape.dim[1:] if first is not None else []
    fixed = all(size.HasField("dim_value") for size in sizes)
    return tuple(size.dim_value for size in sizes) if sizes and fixed else None
