"""Latency as a function of the channels kept: the measured times of the layers, and how they add up.

In nanoseconds of one call of the runtime, at the batch size of the costs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from compressor.channels import ChannelGroup
from compressor.computed_weights import folded
from compressor.costs.curves import Curve
from compressor.costs.layers import layers_of
from compressor.costs.macs import macs_model
from compressor.costs.model import CostModel
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.positions import output_positions
from compressor.records.costs import Costs, Layer, LayerCosts, NetworkCosts

NS = 1000.0  # in a microsecond


@dataclass(frozen=True, eq=False, kw_only=True)
class LatencyModel(CostModel):
    """``curves`` are those of each layer's calls, by row; a row without any costs by its MACs.

    ``positions`` (layers,) is how many numbers a layer puts out for each of its outputs.
    """

    curves: Mapping[int, Sequence[Curve]]
    positions: NDArray[np.float64]
    fit: NetworkCosts

    def fitted(self, fit: NetworkCosts) -> LatencyModel:
        """The same times added up in another way."""
        return replace(self, fit=fit, fixed=NS * fit.fixed_us)

    def without_curves(self) -> LatencyModel:
        """The same rows, each by its MACs."""
        return replace(self, curves={})

    def priced(self, inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Nanoseconds of every layer (layers,) at these widths (layers,), were all of them there."""
        return np.array([float(self.at(n, inputs[n], outputs[n])) for n in range(len(self.layers))])

    def at(self, layer: int, inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Nanoseconds of one layer at these widths, in arrays of any one shape."""
        there = (inputs > 0) & (outputs > 0)
        rest = self.fit.us_per_output * self.positions[layer] * outputs * there
        if layer in self.curves:
            us = self.fit.scale * sum(curve.at(inputs, outputs) for curve in self.curves[layer])
        else:
            us = self.fit.us_per_mac * self.per_pair[layer] * inputs * outputs
        total: NDArray[np.float64] = NS * (us + rest)
        return total

    def bilinear(self, layer: int) -> tuple[float, float, float, float]:
        """The plane twisted least that runs through the measured times of one layer."""
        per_output = NS * self.fit.us_per_output * float(self.positions[layer])
        if layer not in self.curves:
            return 0.0, 0.0, per_output, NS * self.fit.us_per_mac * float(self.per_pair[layer])
        constant, one, other, pair = np.sum([curve.bilinear() for curve in self.curves[layer]], 0) * NS * self.fit.scale
        return float(constant), float(one), float(other) + per_output, float(pair)

    @property
    def dense(self) -> float:
        """As measured, where that is known: its sum can be off when its weights do not fit a cache."""
        return self.total() if self.fit.dense_us is None else NS * self.fit.dense_us

    def saved_per_channel(self) -> NDArray[np.float64]:
        """What removing a channel saves on average (groups,): one alone may save nothing."""
        full = float(self.by_layer().sum())
        without = self.channels - np.diag(self.channels)
        return np.array([full - float(self.by_layer(kept).sum()) for kept in without]) / self.channels


def latency_model(
    model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup], costs: Costs
) -> LatencyModel:
    """The latency of ``model`` by what was measured; `UsageError` when that was another network."""
    rows = timed_rows(model, example_input, groups)
    fit = costs.networks.get(rows.key)
    if fit is None:
        raise UsageError("the costs are those of other networks; compress costs MODEL --out FILE adds what they lack")
    return rows.model(costs.layers, costs.block, fit)


@dataclass(frozen=True, eq=False)
class TimedRows:
    """The rows of the MACs of a network with the layers that the runtime sees there; several are calls of one."""

    macs: CostModel
    layers: Mapping[int, Sequence[Layer]]
    positions: NDArray[np.float64]

    @property
    def key(self) -> str:
        """A hash of all that decides which times are needed and how they add up."""
        names = [self.macs.layers, self.macs.inputs.tolist(), self.macs.outputs.tolist(), self.macs.per_pair.tolist()]
        return hashlib.sha256(repr((names, sorted(self.layers.items()))).encode()).hexdigest()[:16]

    def model(self, measured: Sequence[LayerCosts], block: int, fit: NetworkCosts) -> LatencyModel:
        """The latency model of those times and that fit."""
        known = {one.layer: Curve(one.inputs, one.outputs, np.array(one.us), block) for one in measured}
        return LatencyModel(
            **{one.name: getattr(self.macs, one.name) for one in fields(CostModel)},
            curves={row: [known[layer] for layer in calls] for row, calls in self.layers.items()},
            positions=self.positions,
            fit=fit,
        ).fitted(fit)


def timed_rows(model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup]) -> TimedRows:
    """The rows of ``model`` with their layers; only convolutions and linear layers are timed by themselves."""
    model = folded(model)
    macs = macs_model(model, example_input, groups)
    calls = layers_of(model, example_input)
    places = output_positions(model, example_input)
    return TimedRows(
        macs,
        {row: tuple(calls[name]) for row, name in enumerate(macs.layers) if name in calls},
        np.array([places.get(name, 0.0) for name in macs.layers]),
    )
