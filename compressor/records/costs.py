"""What the layers of a network take in a runtime at other widths: measured once, a function of the channels kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import field

from compressor.records import SCHEMA_VERSION, Interval, Record, Tool
from compressor.records.benchmark import Environment
from compressor.records.run import TargetKind

# So many copies of a layer are timed together at most.
MOST_COPIES = 5


class Layer(Record, frozen=True):
    """A convolution or linear layer without its widths.

    ``size`` is that of one sample's input without its channels: height and width of an image, or how many rows a linear
    layer is applied to. A depthwise convolution has as many inputs as outputs, each in a group of its own. ``copies``
    is how many of it have about as many weights as the network: caches hold as much of so many as they hold of that.
    """

    kind: Literal["convolution", "depthwise", "transposed", "linear"]
    size: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    output_padding: tuple[int, ...] = ()
    copies: int = MOST_COPIES

    def __str__(self) -> str:
        size = "x".join(map(str, self.size))
        if self.kind == "linear":
            return f"linear on {size} rows"
        kernel, strides = "x".join(map(str, self.kernel)), "x".join(map(str, self.strides))
        return f"{self.kind} {kernel} by {strides} on {size}"


class LayerCosts(Record, frozen=True, kw_only=True):
    """Microseconds (inputs, outputs) of a layer at these widths, and half the width of their 95 % intervals.

    A depthwise layer has one row.
    """

    layer: Layer
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    us: tuple[tuple[float, ...], ...]
    ci95: tuple[tuple[float, ...], ...]


class Check(Record, frozen=True, kw_only=True):
    """A whole network of random widths: its latency relative to the dense one, foretold without it and measured."""

    macs: float
    predicted: float
    measured: float
    ci95: Interval

    @property
    def error(self) -> float:
        """By how much the prediction is off, relative to what was measured."""
        return self.predicted / self.measured - 1


class NetworkCosts(Record, frozen=True, kw_only=True):
    """How the times of its layers add up to that of a network, fitted to ``checks``, and the errors of that.

    The whole takes ``scale`` times its layers, so many microseconds for each of the numbers that layers put out,
    for each MAC of what is not timed by itself, and a ``fixed`` rest. The dense network was measured to take
    ``dense_us``, which need not be what is foretold of it: its weights can leave a cache in which those of smaller
    ones stay.
    """

    scale: float
    us_per_output: float
    us_per_mac: float
    fixed_us: float
    dense_us: float | None = None
    checks: tuple[Check, ...]
    median_error: float
    worst_error: float


class Costs(Record, frozen=True, kw_only=True, tag_field="kind", tag="costs"):
    """What layers cost on one machine, in one provider of the runtime, at one batch size and number of threads.

    ``networks`` are those that they were measured for, by the hash of their layers.
    """

    schema_version: int = SCHEMA_VERSION
    tool: Tool = field(default_factory=Tool)
    started: str
    duration_s: float
    environment: Environment
    provider: str
    threads: int
    batch: int
    block: int
    layers: tuple[LayerCosts, ...]
    networks: Mapping[str, NetworkCosts]


class Trial(Record, frozen=True, kw_only=True):
    """A network that was built before the training: channels by group, bytes, and latency relative to dense."""

    kept: Mapping[str, int]
    size: float | None = None
    latency: float | None = None
    latency_ci95: Interval | None = None


class Aims(Record, frozen=True, kw_only=True):
    """For targets in latency and bytes: the share of the foretold cost with which a measured network meets each."""

    costs: Costs | None = None
    shares: Mapping[TargetKind, float] = {}
    trials: tuple[Trial, ...] = ()
