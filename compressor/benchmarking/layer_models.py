"""ONNX models of a single layer, for timing it at any width without a network around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compressor.records.costs import Layer

OPSET, IR_VERSION = 18, 9
INPUT, OUTPUT = "x", "y"


def layer_model(layer: Layer, inputs: int, outputs: int, batch: int) -> bytes:
    """The layer at these widths as an ONNX model, with a ReLU behind it, which runtimes fuse into it."""
    random = np.random.default_rng(0)
    weight = (random.standard_normal(_weight_shape(layer, inputs, outputs)) / max(inputs, 1) ** 0.5).astype("f4")
    constants = [numpy_helper.from_array(weight, "weight")]
    constants.append(numpy_helper.from_array(np.zeros(outputs, "f4"), "bias"))
    graph = helper.make_graph(
        [*_nodes(layer, inputs), helper.make_node("Relu", ["made"], [OUTPUT])],
        "layer",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, input_shape(layer, inputs, batch))],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(onnx.shape_inference.infer_shapes(made).SerializeToString())


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


def _nodes(layer: Layer, inputs: int) -> list[onnx.NodeProto]:
    if layer.kind == "linear" and layer.size[0] == 1:
        return [helper.make_node("Gemm", [INPUT, "weight", "bias"], ["made"])]
    if layer.kind == "linear":
        product = helper.make_node("MatMul", [INPUT, "weight"], ["product"])
        return [product, helper.make_node("Add", ["product", "bias"], ["made"])]
    options: dict[str, Any] = {"kernel_shape": layer.kernel, "strides": layer.strides, "dilations": layer.dilations}
    if layer.kind == "transposed":
        options["output_padding"] = layer.output_padding
    group = inputs if layer.kind == "depthwise" else 1
    kind = "ConvTranspose" if layer.kind == "transposed" else "Conv"
    return [helper.make_node(kind, [INPUT, "weight", "bias"], ["made"], pads=layer.padding * 2, group=group, **options)]
