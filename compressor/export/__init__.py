"""PyTorch to ONNX, checked: dynamic batch, the opset that was asked for, and outputs that agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from compressor import __version__
from compressor.checkpoints import Metadata
from compressor.computed_weights import folded
from compressor.equivalence import Inputs
from compressor.errors import EquivalenceError, UsageError, first_line
from compressor.export.causes import cause
from compressor.export.files import on_cpu, publish, quiet
from compressor.export.flat import Flat, Signature, alike, by_name, ordered, signature_of, traceable
from compressor.export.parity import check_parity
from compressor.files import scratch_folder
from compressor.inputs import Examples, converted, each
from compressor.precision import LOW, in_precision, precisions
from compressor.records.run import Export
from compressor.shards import refuse_shards

DEFAULT_OPSET = 18
OPSETS = range(17, 24)
# Protocol buffers end at 2 GB; larger weights go into a second file.
EXTERNAL_ABOVE = 1_800_000_000


def export_onnx(
    model: nn.Module,
    example_input: Inputs,
    path: str | Path,
    *,
    opset: int = DEFAULT_OPSET,
    metadata: Mapping[str, str] | None = None,
    real_inputs: Inputs | None = None,
) -> Export:
    """Write ``model`` as ONNX with a dynamic batch; `EquivalenceError` when a check fails, then nothing is written.

    ``example_input`` is what the network takes, as in `Splitting`; the file calls its tensors `by_name`. What is no
    tensor becomes part of the file. Where several `Examples` differ in length, that is dynamic too; those that have
    other kinds of tensors than the first one are left out. The file gives the outputs that count. A network in half
    precision is exported in float32, and the result says so.
    The dynamo exporter is tried first; if its file fails a check the TorchScript exporter is, and the result
    says so. ``metadata`` goes into the file as strings. ``real_inputs`` take part in the comparison.
    """
    check_opset(opset)
    refuse_shards(model)
    path = Path(path)
    model = folded(model)
    low = sorted(str(kind).removeprefix("torch.") for kind in precisions(model) if kind in LOW)
    model = in_precision(model, torch.float32) if low else model
    with on_cpu(model):
        examples = alike(model, example_input)
        examples = converted(examples, torch.float32) if low else each(examples, Tensor.cpu)
        signature = signature_of(model, examples)
        failures: list[str] = []
        for exporter in ("dynamo", "torchscript"):
            with scratch_folder() as folder:
                draft = folder / path.name
                try:
                    _export(model, examples, signature, draft, exporter, opset)
                    known = {"compressor.lengths": json.dumps(signature.lengths)} if signature.lengths else {}
                    entries = {**(metadata or {}), **known, "compressor.exporter": exporter}
                    _finish(draft, opset, entries, signature)
                    parity = check_parity(model, draft, examples, real_inputs)
                except EquivalenceError as failure:
                    failures.append(f"{exporter}: {failure}")
                    continue
                publish(draft, path)
            fallback = failures[0] if failures else None
            return Export(
                variant=path.stem,
                exporter=exporter,
                opset=opset,
                fallback=fallback,
                cast_from=", ".join(low) or None,
                parity=parity,
            )
        why = cause(model, examples)
        raise EquivalenceError(f"cannot export to ONNX opset {opset}: {'; '.join(failures)}{why}")


def check_opset(opset: int) -> None:
    """Raise `UsageError` when ``opset`` cannot be exported."""
    if opset not in OPSETS:
        raise UsageError(f"--opset must lie in {OPSETS[0]}..{OPSETS[-1]}, got {opset}")


def describe(known: Metadata) -> dict[str, str]:
    """The ONNX metadata that lets ``compress evaluate`` feed the file without options."""
    entries = {
        "input_shape": list(known.input_shape) if not known.examples else None,
        "normalization": known.normalization.to_plain() if known.normalization else None,
        "classes": list(known.classes) if known.classes else None,
        "data": vars(known.data) if known.data else None,
        "resize": known.resize,
    }
    return {f"compressor.{key}": json.dumps(value) for key, value in entries.items() if value is not None}


def _export(model: nn.Module, examples: Examples, signature: Signature, draft: Path, exporter: str, opset: int) -> None:
    examples = traceable(model, examples)
    args, kwargs = ordered(model, examples.calls[0])
    given: tuple[Any, ...] = tuple(signature.axes.values())
    if not signature.plain:
        args, kwargs, given = tuple(by_name(model, examples).values()), {}, (given,)
        model = Flat(model, examples).eval()
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    options: dict[str, Any] = {
        "input_names": list(signature.inputs),
        "output_names": list(signature.outputs),
        "opset_version": opset,
        "external_data": size > EXTERNAL_ABOVE,
    }
    if exporter == "dynamo":
        # verbose=False silences the exporter's own progress lines.
        options |= {"dynamo": True, "dynamic_shapes": signature.axes if kwargs else given, "verbose": False}
    else:
        outputs = {name: {0: "batch"} for name in signature.outputs} if signature.resizable else {}
        options |= {"dynamo": False, "dynamic_axes": {**signature.axes, **outputs}}
    try:
        with quiet():
            torch.onnx.export(model, args, str(draft), kwargs=kwargs, **options)
    except Exception as error:  # whatever the exporter meets in foreign code
        # The dynamo exporter wraps what went wrong in general advice.
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise EquivalenceError(f"the exporter failed ({type(cause).__name__}: {first_line(cause)})") from error


def _finish(draft: Path, opset: int, metadata: Mapping[str, str], signature: Signature) -> None:
    """Check opset, graph and what is to be dynamic; strip stack traces, which are paths of this machine."""
    graph = onnx.load(draft, load_external_data=False)
    written = {entry.domain: entry.version for entry in graph.opset_import}.get("")
    if written != opset:
        raise EquivalenceError(f"opset {opset} was asked for, but the file has {written}")
    for entry in graph.graph.input:
        for axis, size in signature.axes.get(entry.name, {}).items():
            if not entry.type.tensor_type.shape.dim[axis].dim_param:
                what = "the batch dimension" if size == "batch" else f"axis {axis} of {entry.name}"
                raise EquivalenceError(f"{what} is not dynamic")
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    del graph.metadata_props[:], graph.graph.metadata_props[:]
    graph.doc_string = graph.graph.doc_string = ""
    onnx.helper.set_model_props(graph, dict(metadata))
    graph.producer_name, graph.producer_version = "compressor", __version__
    onnx.save_model(graph, draft)
    try:
        onnx.checker.check_model(str(draft), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise EquivalenceError(f"the ONNX checker refuses the file: {first_line(error)}") from error
