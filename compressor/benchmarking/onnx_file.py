"""What an ONNX file holds and weighs: inputs, parameters, MACs, channels that do not fit the runtime, bytes on disk."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
from msgspec import Meta
from onnx import (
    ModelProto,
    TensorProto,
    ValueInfoProto,
    external_data_helper,
    inliner,
    numpy_helper,
    shape_inference,
)

from compressor.benchmarking.fast_path import Misfit, misfits
from compressor.benchmarking.macs import count_macs, uncounted
from compressor.codec import decode
from compressor.errors import UsageError
from compressor.files import chunks, gzipped_bytes
from compressor.foreign import parsing
from compressor.limits import check_memory
from compressor.onnx_safety import read_model
from compressor.process_memory import bounded
from compressor.records.benchmark import FileSize

DRAWN_BYTES = 16  # of one entry of a random input: drawn in double precision, then cast
LENGTHS = "compressor.lengths"  # the entry with the sizes of the example, by their names

# Whole numbers of more than eight bits are shapes and indices, not weights.
_WEIGHT_TYPES = {
    getattr(TensorProto, name) for name in ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT4", "UINT4")
}


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a graph; a first dimension of None is the batch."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The facts of one file; ``macs`` is for a dynamic batch of 1, None when shapes cannot be inferred."""

    inputs: tuple[Input, ...]
    opset: int
    metadata: dict[str, str]
    macs: int | None
    uncounted: tuple[str, ...]
    parameters: int
    parameters_nonzero: int
    unaligned: tuple[Misfit, ...]
    external: tuple[Path, ...]


def read_graph(path: Path) -> Graph:
    """Read ``path``; raises `UsageError` when it is missing, `CheckpointError` when it is no ONNX model."""
    checked = read_model(path)
    external = checked.external
    with parsing(path):
        model = inliner.inline_local_functions(checked.model)
    with bounded(stored_bytes(path, external)):
        counts = [_count(tensor, path) for tensor in _weights(model)]
        _set_lengths(model, path)
        inputs = _inputs(model, path)
        with parsing(f"the shapes in {path}"):
            shapes = _shapes(model, inputs)
    return Graph(
        inputs=inputs,
        opset=next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 0),
        metadata={entry.key: entry.value for entry in model.metadata_props},
        macs=count_macs(model.graph, shapes),
        uncounted=uncounted(model.graph),
        parameters=sum(total for total, _ in counts),
        parameters_nonzero=sum(nonzero for _, nonzero in counts),
        unaligned=tuple(misfits(model.graph, shapes)),
        external=external,
    )


def check_batch(file: str, inputs: Sequence[Input], batch: int) -> None:
    """Raise `UsageError` when the batch of ``file`` is fixed at another size, `CompressorError` for one too large."""
    for entry in inputs:
        if entry.shape and entry.shape[0] not in (None, batch):
            raise UsageError(
                f"{file}: the batch of input {entry.name!r} is fixed at {entry.shape[0]}, so batch {batch} "
                "cannot be timed; export with a dynamic batch"
            )
    entries = sum(math.prod(batch if size is None else size for size in entry.shape) for entry in inputs)
    check_memory(entries * DRAWN_BYTES, f"{file}: a random input of batch {batch}")


def stored_bytes(path: Path, external: Sequence[Path]) -> int:
    """Bytes of ``path`` and of the ``external`` files that it refers to."""
    return sum(file.stat().st_size for file in (path, *external))


def measure_size(path: Path, external: Sequence[Path]) -> FileSize:
    """Bytes of ``path``, of the ``external`` files that it refers to, and of all under ``gzip -6``."""
    return FileSize(
        onnx_bytes=path.stat().st_size,
        external_bytes=sum(file.stat().st_size for file in external),
        gzip_bytes=sum(gzipped_bytes(file) for file in (path, *external)),
    )


def fingerprint(path: Path, external: Sequence[Path]) -> str:
    """SHA-256 of ``path`` followed by its external files, in hexadecimal."""
    digest = hashlib.sha256()
    for file in (path, *external):
        for chunk in chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _weights(model: ModelProto) -> Iterator[TensorProto]:
    """Tensors of the graph that may be weights: initializers, constants and values of sparse initializers."""
    graph = model.graph
    yield from graph.initializer
    yield from (a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute)
    yield from (tensor.values for tensor in graph.sparse_initializer)


def _is_weight(tensor: TensorProto) -> bool:
    return bool(tensor.dims) and tensor.data_type in _WEIGHT_TYPES


def _count(tensor: TensorProto, path: Path) -> tuple[int, int]:
    """Entries and nonzero entries of a weight; none of anything else."""
    if not _is_weight(tensor):
        return 0, 0
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    with parsing(f"{path}: the weights of {tensor.name!r}"):
        if external_data_helper.uses_external_data(copy):
            external_data_helper.load_external_data_for_tensor(copy, str(path.parent))
        values = numpy_helper.to_array(copy)
    return values.size, int(np.count_nonzero(values))


def _set_lengths(model: ModelProto, path: Path) -> None:
    """Give dynamic sizes other than the batch the values that they have in the example, where the file says these."""
    said = {entry.key: entry.value.encode() for entry in model.metadata_props}.get(LENGTHS, b"{}")
    lengths = decode(said, dict[str, Annotated[int, Meta(ge=1, lt=2**31)]], f"{LENGTHS} of {path}")
    for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        for dim in entry.type.tensor_type.shape.dim:
            if dim.dim_param in lengths:
                dim.dim_value = lengths[dim.dim_param]


def _inputs(model: ModelProto, path: Path) -> tuple[Input, ...]:
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(_input(entry, path) for entry in model.graph.input if entry.name not in given)
    if not inputs or not model.graph.output:
        raise UsageError(f"{path} has no {'outputs' if inputs else 'inputs'}; there is nothing to run")
    return inputs


def _input(entry: ValueInfoProto, path: Path) -> Input:
    if not entry.type.HasField("tensor_type"):
        kind = (entry.type.WhichOneof("value") or "no type").removesuffix("_type")
        raise UsageError(f"{path}: input {entry.name!r} is no tensor ({kind}); only tensors can be drawn at random")
    if not entry.type.tensor_type.HasField("shape"):
        raise UsageError(f"{path}: input {entry.name!r} has no shape; export it with one")
    shape = [d.dim_value if d.HasField("dim_value") else None for d in entry.type.tensor_type.shape.dim]
    if None in shape[1:]:
        index = shape.index(None, 1)
        raise UsageError(
            f"{path}: dimension {index} of input {entry.name!r} is dynamic; only the batch (dimension 0) may be, "
            "or what a file of ours says the size of"
        )
    if any(size is not None and size < 0 for size in shape):
        raise UsageError(f"{path}: input {entry.name!r} has the shape {shape}; no size may be negative")
    number = entry.type.tensor_type.elem_type
    if number not in onnx.helper.get_all_tensor_dtypes():
        raise UsageError(f"{path}: input {entry.name!r} has the type {number}, which ONNX does not know")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(number)
    if dtype.kind not in "fiub" or dtype.isbuiltin != 1:
        raise UsageError(f"{path}: input {entry.name!r} takes {dtype}, which cannot be drawn at random")
    return Input(entry.name, dtype.name, tuple(shape))


def _shapes(model: ModelProto, inputs: tuple[Input, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors whose sizes are known once the batch is 1."""
    dynamic = {entry.name for entry in inputs if entry.shape and entry.shape[0] is None}
    batch_names = {
        entry.type.tensor_type.shape.dim[0].dim_param for entry in model.graph.input if entry.name in dynamic
    }
    for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        for position, dim in enumerate(entry.type.tensor_type.shape.dim):
            if (dim.dim_param and dim.dim_param in batch_names) or (entry.name in dynamic and position == 0):
                dim.dim_value = 1
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    known = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    known |= {sparse.values.name: tuple(sparse.dims) for sparse in graph.sparse_initializer}
    for entry in (*graph.input, *graph.value_info, *graph.output):
        tensor = entry.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            known[entry.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return known
