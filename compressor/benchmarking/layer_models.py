"""ONNX models of a single layer, for timing it at any width without a network around it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx
from msgspec import Struct
from onnx import TensorProto, helper, numpy_helper

OPSET, IR_VERSION = 18, 9
INPUT, OUTPUT = "x", "y"


class Layer(Struct, frozen=True):
    """A convolution or linear layer without its widths.

    ``size`` is that of one sample's input without its channels: height and width of an image, or how many rows a linear
    layer is applied to. A depthwise convolution has as many inputs as outputs, each in a group of its own.
    """

    kind: Literal["convolution", "depthwise", "transposed", "linear"]
    size: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()

    def __str__(self) -> str:
        size = "x".join(map(str, self.size))
        if self.kind == "linear":
            return f"linear on {size} rows"
        kernel, strides = "x".join(map(str, self.kernel)), "x".join(map(str, self.strides))
        return f"{self.kind} {kernel} by {strides} on {size}"

    def model(self, inputs: int, outputs: int, batch: int) -> bytes:
        """The layer at these widths as an ONNX model, with a ReLU behind it, which runtimes fuse into it."""
        random = np.random.default_rng(0)
        weight = (random.standard_normal(self._weight_shape(inputs, outputs)) / max(inputs, 1) ** 0.5).astype("f4")
        constants = [numpy_helper.from_array(weight, "weight")]
        constants.append(numpy_helper.from_array(np.zeros(outputs, "f4"), "bias"))
        graph = helper.make_graph(
            [*self._nodes(inputs), helper.make_node("Relu", ["made"], [OUTPUT])],
            "layer",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, self.input_shape(inputs, batch))],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)],
            constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        return bytes(onnx.shape_inference.infer_shapes(made).SerializeToString())

    def input_shape(self, inputs: int, batch: int) -> tuple[int, ...]:
        """What the model is fed."""
        if self.kind == "linear":
            rows = self.size[0]
            return (batch, inputs) if rows == 1 else (batch, rows, inputs)
        return (batch, inputs, *self.size)

    def _weight_shape(self, inputs: int, outputs: int) -> tuple[int, ...]:
        if self.kind == "linear":
            return (inputs, outputs)
        if self.kind == "transposed":
            return (inputs, outputs, *self.kernel)
        return (outputs, 1 if self.kind == "depthwise" else inputs, *self.kernel)

    def _nodes(self, inputs: int) -> list[onnx.NodeProto]:
        if self.kind == "linear" and self.size[0] == 1:
            return [helper.make_node("Gemm", [INPUT, "weight", "bias"], ["made"])]
        if self.kind == "linear":
            product = helper.make_node("MatMul", [INPUT, "weight"], ["product"])
            return [product, helper.make_node("Add", ["product", "bias"], ["made"])]
        options = {"kernel_shape": self.kernel, "strides": self.strides, "dilations": self.dilations}
        if self.kind == "transposed":
            options["output_padding"] = self.output_padding
        group = inputs if self.kind == "depthwise" else 1
        kind = "ConvTranspose" if self.kind == "transposed" else "Conv"
        return [
            helper.make_node(
                kind, [INPUT, "weight", "bias"], ["made"], pads=self.padding * 2, group=group, **options
            )
        ]
