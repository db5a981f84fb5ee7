"""Multiply-accumulates of an ONNX graph: convolutions and matrix products only; one MAC is two FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import prod

from onnx import GraphProto, NodeProto

MOST = 2**63  # what a report can hold
Shapes = Mapping[str, tuple[int, ...]]


def _conv(node: NodeProto, shapes: Shapes, weight: int) -> int:
    per_output = prod(shapes[node.input[weight]][1:])  # (out, in / groups, kernel)
    return prod(shapes[node.output[0]]) * per_output


def _conv_transpose(node: NodeProto, shapes: Shapes) -> int:
    per_input = prod(shapes[node.input[1]][1:])  # (in, out / groups, kernel)
    return prod(shapes[node.input[0]]) * per_input


def _gemm(node: NodeProto, shapes: Shapes) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]


def _matmul(node: NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


CONVOLUTIONS: dict[str, Callable[[NodeProto, Shapes], int]] = {
    "Conv": partial(_conv, weight=1),
    "ConvInteger": partial(_conv, weight=1),
    "QLinearConv": partial(_conv, weight=3),
    "ConvTranspose": _conv_transpose,
}

COUNTED = CONVOLUTIONS | {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
}

# These multiply too, or hold graphs of their own; a count that leaves them out must say so.
UNCOUNTED = frozenset({"Attention", "DeformConv", "Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan"})


def count_macs(graph: GraphProto, shapes: Shapes) -> int | None:
    """MACs of ``graph``, or None when a shape that it takes is not in ``shapes``, or no runtime could do them."""
    try:
        total = sum(COUNTED[node.op_type](node, shapes) for node in graph.node if node.op_type in COUNTED)
    except (KeyError, IndexError):  # a damaged node lacks an input, or has one with too few axes
        return None
    return total if 0 <= total < MOST else None


def uncounted(graph: GraphProto) -> tuple[str, ...]:
    """Operators in ``graph`` whose work ``count_macs`` leaves out."""
    return tuple(sorted({node.op_type for node in graph.node} & UNCOUNTED))
