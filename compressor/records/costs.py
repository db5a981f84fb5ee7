"""What the layers of a network take in a runtime at other widths: measured once, a function of the channels kept."""

from __future__ import annotations

from typing import Literal

from compressor.records import Record


class Layer(Record, frozen=True):
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
