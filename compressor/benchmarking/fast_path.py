"""Convolutions whose widths the runtime does not reward, in an ONNX graph.

ONNX Runtime's convolutions on the processor make their outputs in whole blocks of channels, and read them in fours: a
width that is no multiple of 4 drops the next convolution out of the blocked layout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Protocol

from onnx import GraphProto, NodeProto, TensorProto, helper

from compressor.benchmarking.macs import CONVOLUTIONS, COUNTED, Shapes
from compressor.processor import channel_block
from compressor.records.benchmark import WidthRule
from compressor.records.costs import Layer

READ_IN = 4  # channels: nchwc_transformer.cc, channel_alignment
# Of one input, whose channels they keep.
KEEPING = frozenset({"AveragePool", "BatchNormalization", "Clip", "Dropout", "Elu", "Gelu", "HardSigmoid", "HardSwish"})
KEEPING |= {"Identity", "LeakyRelu", "MaxPool", "Mish", "PRelu", "Relu", "Sigmoid", "Softplus", "Tanh"}

IN_BLOCKS = ("convolution", "depthwise")


class Site(Protocol):
    """Where a width counts."""

    def at(self, width: int) -> Iterator[tuple[Layer, int, int]]:
        """The layers whose time is that of ``width``, each with its inputs and outputs."""


@dataclass(frozen=True, slots=True)
class LayerSite:
    """A layer in its place: its inputs, and the layers that read its channels and nothing else, with their outputs."""

    layer: Layer
    inputs: int
    readers: tuple[tuple[Layer, int], ...] = ()

    def at(self, width: int) -> Iterator[tuple[Layer, int, int]]:
        """The layer and its readers at that width."""
        yield self.layer, width if self.layer.kind == "depthwise" else self.inputs, width
        for reader, outputs in self.readers:
            yield reader, width, width if reader.kind == "depthwise" else outputs


@dataclass(frozen=True, slots=True)
class Misfit:
    """A layer whose ``channels`` are no whole ``step``, by which rule; without a ``site`` it cannot be timed alone."""

    name: str
    channels: int
    rule: WidthRule
    step: int
    macs: int
    site: Site | None

    @property
    def snapped(self) -> tuple[int, ...]:
        """The whole steps below and above; none below the first."""
        down = self.channels // self.step * self.step
        return tuple(width for width in (down, down + self.step) if width)


def rule_of(channels: int, *, feeds_convolution: bool, in_blocks: bool) -> tuple[WidthRule, int] | None:
    """The rule that so many output channels break, and the step that would keep it; None for a width that fits."""
    block = channel_block()
    if feeds_convolution and channels % READ_IN:
        return "layout", READ_IN
    return ("block", block) if in_blocks and channels % block else None


@dataclass(slots=True)
class _Reached:
    """By tensor, from the graph's end: what is fed from it further on, and which convolutions read its channels."""

    convolutions: set[str] = field(default_factory=set)
    weighted: set[str] = field(default_factory=set)
    readers: defaultdict[str, list[NodeProto]] = field(default_factory=lambda: defaultdict(list))

    def pass_on(self, node: NodeProto) -> None:
        """Take ``node``, which comes before all that was taken."""
        convolution = node.op_type in CONVOLUTIONS
        if convolution or not self.convolutions.isdisjoint(node.output):
            self.convolutions.update(node.input)
        if node.op_type in COUNTED or not self.weighted.isdisjoint(node.output):
            self.weighted.update(node.input)
        if convolution:
            self.readers[node.input[0]].append(node)
        elif node.op_type in KEEPING:
            self.readers[node.input[0]] += self.readers[node.output[0]]


def misfits(graph: GraphProto, shapes: Shapes) -> list[Misfit]:
    """The convolutions whose outputs other layers read at a width that is no whole step, in the order of the graph."""
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    reached, found = _Reached(), list[Misfit]()
    for node in reversed(graph.node):
        shape = shapes.get(node.output[0], ()) if node.op_type in CONVOLUTIONS else ()
        if len(shape) > 1:
            layer = _layer(node, shapes, floats)
            broken = rule_of(
                shape[1],
                feeds_convolution=not reached.convolutions.isdisjoint(node.output),
                in_blocks=_in_blocks(layer) and not reached.weighted.isdisjoint(node.output),
            )
            if broken:
                readers = tuple(_readers(reached.readers[node.output[0]], shape[1], shapes, floats))
                site = layer and replace(layer, readers=readers)
                macs = prod(shape) * prod(shapes.get(node.input[1], ())[1:])
                found.append(Misfit(node.name or node.output[0], shape[1], *broken, macs, site))
        reached.pass_on(node)
    return found[::-1]


def _in_blocks(site: LayerSite | None) -> bool:
    return site is not None and site.layer.kind in IN_BLOCKS


def _readers(nodes: list[NodeProto], channels: int, shapes: Shapes, floats: set[str]) -> Iterator[tuple[Layer, int]]:
    for node in nodes:
        site = _layer(node, shapes, floats)
        if site is not None and site.inputs == channels:
            yield site.layer, shapes[node.output[0]][1]


def _layer(node: NodeProto, shapes: Shapes, floats: set[str]) -> LayerSite | None:
    """The layer that a node is, without readers; None for one that is not timed by itself."""
    if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in floats:
        return None
    given, made, weight = (shapes.get(name) for name in (node.input[0], node.output[0], node.input[1]))
    if given is None or made is None or weight is None or len(given) < 3:
        return None
    asked: Mapping[str, Any] = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    axes, group = len(given) - 2, asked.get("group", 1)
    depthwise = group > 1 and group == given[1] == made[1] and node.op_type == "Conv"
    pads = tuple(asked.get("pads", (0,) * 2 * axes))
    odd = asked.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in asked or pads[:axes] != pads[axes:]
    if odd or (group > 1 and not depthwise):
        return None
    transposed = node.op_type == "ConvTranspose"
    layer = Layer(
        kind="transposed" if transposed else "depthwise" if depthwise else "convolution",
        size=tuple(given[2:]),
        kernel=tuple(weight[2:]),
        strides=tuple(asked.get("strides", (1,) * axes)),
        padding=pads[:axes],
        dilations=tuple(asked.get("dilations", (1,) * axes)),
        output_padding=tuple(asked.get("output_padding", (0,) * axes)) if transposed else (),
    )
    return LayerSite(layer, given[1])
