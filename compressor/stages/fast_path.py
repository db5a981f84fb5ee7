"""Channel groups whose widths the runtime does not reward, before there is an ONNX file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from compressor.benchmarking.fast_path import IN_BLOCKS, Misfit, rule_of
from compressor.benchmarking.width_costs import time_widths, unaligned_layer
from compressor.channels import ChannelGroup
from compressor.costs import CostModel
from compressor.costs.layers import layers_of
from compressor.equivalence import Inputs
from compressor.groups.advice import is_output
from compressor.progress import Progress
from compressor.records.benchmark import BenchmarkSettings, UnalignedLayer
from compressor.records.costs import Layer

SECONDS = 30.0
SETTINGS = BenchmarkSettings(provider="cpu", threads=1, batches=(1,))


def off_fast_path(
    model: nn.Module,
    example: Inputs,
    groups: Sequence[ChannelGroup],
    macs: CostModel,
    *,
    measure: bool,
    progress: Progress,
) -> tuple[UnalignedLayer, ...]:
    """Groups whose channels are no whole step of this processor; with ``measure`` what their layers take together.

    ``macs`` is the cost model of all ``groups``. Groups that share their layers with others are left out.
    """
    layers = layers_of(model, example)
    found = [
        misfit
        for place, group in enumerate(groups)
        if not is_output(group.excluded) and (misfit := _misfit(place, group, macs, layers)) is not None
    ]
    times = time_widths(found, SETTINGS, seconds=SECONDS, on_progress=progress) if measure else {}
    return tuple(unaligned_layer(one, times) for one in found)


@dataclass(frozen=True, eq=False)
class GroupSite:
    """All layers that make or read the group at ``place``, as often as they are called.

    ``width`` is how wide those are that make it: a channel may have several places in a layer.
    """

    place: int
    width: int
    macs: CostModel
    layers: Mapping[str, Sequence[Layer]]

    def at(self, width: int) -> Iterator[tuple[Layer, int, int]]:
        """Each layer with its inputs and outputs once those that make the group are ``width`` wide."""
        gone = (1 - width / self.width) * int(self.macs.channels[self.place])
        inputs = self.macs.inputs - gone * self.macs.inputs_per_channel[:, self.place]
        outputs = self.macs.outputs - gone * self.macs.outputs_per_channel[:, self.place]
        for row in self.rows:
            for layer in self.layers[self.macs.layers[row]]:
                made = round(outputs[row])
                yield layer, made if layer.kind == "depthwise" else round(inputs[row]), made

    @property
    def rows(self) -> list[int]:
        """The rows of the cost model that the group changes and that can be timed."""
        changed = (self.macs.inputs_per_channel[:, self.place] > 0) | (self.macs.outputs_per_channel[:, self.place] > 0)
        return [int(row) for row in np.flatnonzero(changed) if self.macs.layers[row] in self.layers]


def _misfit(place: int, group: ChannelGroup, macs: CostModel, layers: Mapping[str, Sequence[Layer]]) -> Misfit | None:
    makers = {member.module for member in group.members if member.role == "producer"}
    readers = {member.module for member in group.members if member.role == "consumer"}
    rows = [row for row, name in enumerate(macs.layers) if name in makers]
    widths = {int(macs.outputs[row]) for row in rows}
    own = {int(macs.outputs_per_channel[row, place]) * group.channels for row in rows}
    if len(widths) != 1 or own != widths:
        return None
    (width,) = widths
    made, read = ({layer.kind for name in names for layer in layers.get(name, ())} for names in (makers, readers))
    # What reads the channels of a group that stays is not always known; they are no outputs, so something does.
    feeds_convolution = bool((read or made) - {"linear"})
    broken = rule_of(width, feeds_convolution=feeds_convolution, in_blocks=not made.isdisjoint(IN_BLOCKS))
    site = GroupSite(place, width, macs, layers)
    return broken and Misfit(group.name, width, *broken, round(macs.by_layer()[site.rows].sum()), site)
