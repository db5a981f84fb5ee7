"""ONNX models of a single layer, for timing it at any width without a network around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressor.records.costs import Layer

OPSET, IR_VERSION = 18, 9
INPUT, OUTPUT = "x", "y"


def layer_model(layer: Layer, inputs: int, outputs: int, batch: int, copies: int = 1) -> bytes:
    """So many copies of the layer at these widths as an ONNX model, each on the same input.

    Each adds its output to that of the one before, with a ReLU behind it: runtimes fuse both into the layer. Without
    any the model is a ReLU of its input.
    """
    if not copies:
        return _model([helper.make_node("Relu", [INPUT], [OUTPUT])], layer, inputs, batch, [])
    random = np.random.default_rng(0)
    constants, nodes, made = [numpy_helper.from_array(np.zeros(outputs, "f4"), "bias")], list[onnx.NodeProto](), ""
    for copy in range(copies):
        weight = (random.standard_normal(_weight_shape(layer, inputs, outputs)) / max(inputs, 1) ** 0.5).astype("f4")
        constants.append(numpy_helper.from_array(weight, f"weight{copy}"))
        nodes += _nodes(layer, inputs, copy, before=made)
        made = OUTPUT if copy == copies - 1 else f"active{copy}"
        nodes.append(helper.make_node("Relu", [f"made{copy}"], [made]))
    return _model(nodes, layer, inputs, batch, constants)


def _model(
    nodes: list[onnx.NodeProto], layer: Layer, inputs: int, batch: int, constants: list[onnx.TensorProto]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, input_shape(layer, inputs, batch))],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def input_shape(layer: Layer, inputs: int, batch: int) -> tuple[int, ...]:
    """What the model is fed."""
    if layer.kind == "linear":
        rows = layer.size[0]
        return (batch, inputs) if rows == 1 else (batch, rows, inputs)
    return (batch, inputs, *layer.size)


def _weight_shape(layer: Layer, inputs: int, outputs: int) -> tuple[int, ...]:
    if layer.kind == "linear":
        return (inputs, outputs)
    if layer.kind == "transposed":
        return (inputs, outputs, *layer.kernel)
    return (outputs, 1 if layer.kind == "depthwise" else inputs, *layer.kernel)


def _nodes(layer: Layer, inputs: int, copy: int, before: str) -> list[onnx.NodeProto]:
    """The layer, with what the copy ``before`` it made added; its output is called made."""
    weight, own, made = f"weight{copy}", f"own{copy}", f"made{copy}"
    if layer.kind == "linear" and layer.size[0] > 1:
        product = helper.make_node("MatMul", [INPUT, weight], [own])
        return [product, helper.make_node("Add", [own, before or "bias"], [made])]
    given, name = [INPUT, weight, "bias"], own if before else made
    added = [helper.make_node("Add", [own, before], [made])] if before else []
    if layer.kind == "linear":
        return [helper.make_node("Gemm", given, [name]), *added]
    options: dict[str, Any] = {"kernel_shape": layer.kernel, "strides": layer.strides, "dilations": layer.dilations}
    if layer.kind == "transposed":
        options["output_padding"] = layer.output_padding
    options |= {"pads": layer.padding * 2, "group": inputs if layer.kind == "depthwise" else 1}
    kind = "ConvTranspose" if layer.kind == "transposed" else "Conv"
    return [helper.make_node(kind, given, [name], **options), *added]
