"""Write a network as ONNX or as a torch.export program, and compare the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from compressor.checkpoints import Network
from compressor.data.feeds import Data
from compressor.export import DEFAULT_OPSET, describe, export_onnx
from compressor.records.run import Export
from compressor.stages.samples import real_inputs

Format = Literal["onnx", "pt2"]


def export(
    network: Network,
    path: Path,
    data: Data | None = None,
    *,
    format: Format = "onnx",
    opset: int = DEFAULT_OPSET,
) -> Export:
    """Write ``network`` to ``path``; outputs are compared on random inputs, and on samples of ``data``.

    What the network knows about its inputs and classes goes into the file. ``opset`` is for ONNX only.
    `EquivalenceError` when an output differs; then nothing is written.
    """
    example, metadata, real = network.example_input(), describe(network.metadata), real_inputs(network, data)
    if format == "onnx":
        return export_onnx(network.model, example, path, opset=opset, metadata=metadata, real_inputs=real)
    from compressor.export.program import export_program

    return export_program(network.model, example, path, metadata=metadata, real_inputs=real)
