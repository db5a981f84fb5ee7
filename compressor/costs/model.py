"""The cost of a network, layer by layer, for any number of channels kept of each group.

Every cost here is bilinear: a layer costs ``per_pair * inputs * outputs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LEAST_SHARE = 1e-12


@dataclass(frozen=True, eq=False)
class BranchCosts:
    """Which layers go with a branch: all of them, whatever channels they have, once its groups keep none.

    ``groups`` (branches, groups) says which belong to each, ``sizes`` how many it has. ``branch`` (layers,) is that
    with which a layer goes, or one more than there are. A layer that is ``instead`` is there when the branch is not.
    """

    groups: NDArray[np.int64]
    sizes: NDArray[np.int64]
    branch: NDArray[np.int64]
    instead: NDArray[np.bool_]

    def there(self, kept: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which layers are there when ``kept`` (groups,) channels stay: (layers,)."""
        gone: NDArray[np.bool_] = np.append(self.groups @ (kept == 0) == self.sizes, False)
        there: NDArray[np.bool_] = gone[self.branch] == self.instead
        return there


@dataclass(frozen=True, eq=False)
class CostModel:
    """Cost of each layer, and of the whole network, for any number of kept channels per group.

    Arrays are (layers,), (groups,) or (layers, groups): ``places`` are those of a channel in its layers,
    ``inputs_per_channel[l, g]`` is how many inputs layer l loses with one channel of group g.
    """

    layers: tuple[str, ...]
    channels: NDArray[np.int64]
    places: NDArray[np.int64]
    inputs: NDArray[np.float64]
    outputs: NDArray[np.float64]
    inputs_per_channel: NDArray[np.float64]
    outputs_per_channel: NDArray[np.float64]
    per_pair: NDArray[np.float64]
    fixed: float
    branches: BranchCosts | None = None

    def by_layer(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Cost of every layer (layers,) when ``kept`` (groups,) channels stay; all of them by default."""
        left = self.channels if kept is None else np.asarray(kept)
        gone = self.channels - left
        inputs = self.inputs - self.inputs_per_channel @ gone
        outputs = self.outputs - self.outputs_per_channel @ gone
        costs = self.priced(inputs, outputs)
        return costs if self.branches is None else costs * self.branches.there(left)

    def priced(self, inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cost of every layer (layers,) at these widths (layers,), were all of them there."""
        costs: NDArray[np.float64] = self.per_pair * inputs * outputs
        return costs

    def at(self, layer: int, inputs: NDArray[np.float64], outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Cost of one layer at these widths, in arrays of any one shape."""
        costs: NDArray[np.float64] = self.per_pair[layer] * inputs * outputs
        return costs

    def bilinear(self, layer: int) -> tuple[float, float, float, float]:
        """The cost of one layer as a constant and so much for each input, each output and each pair."""
        return 0.0, 0.0, 0.0, float(self.per_pair[layer])

    def of(self, chosen: Sequence[bool]) -> CostModel:
        """The same costs as a function of the ``chosen`` groups alone; the others stay whole."""
        columns = np.flatnonzero(chosen)
        return replace(
            self,
            channels=self.channels[columns],
            places=self.places[columns],
            inputs_per_channel=self.inputs_per_channel[:, columns],
            outputs_per_channel=self.outputs_per_channel[:, columns],
            branches=self.branches and replace(self.branches, groups=self.branches.groups[:, columns]),
        )

    def total(self, kept: Sequence[int] | NDArray[np.int64] | None = None) -> int:
        """Cost of the whole network."""
        return round(float(self.by_layer(kept).sum()) + self.fixed)

    @property
    def dense(self) -> float:
        """What the dense network costs, to which targets are relative."""
        return self.total()

    def carried(self, chosen: Sequence[bool]) -> int:
        """What would go with all channels of the ``chosen`` groups, the others kept whole."""
        return self.total() - self.total(np.where(chosen, 0, self.channels))

    def saved_per_channel(self) -> NDArray[np.float64]:
        """What removing one channel of each group from the full network saves: (groups,)."""
        full = float(self.by_layer().sum())
        one_less = self.channels - np.eye(len(self.channels), dtype=np.int64)
        return np.array([full - float(self.by_layer(kept).sum()) for kept in one_less])

    @cached_property
    def share_per_channel(self) -> NDArray[np.float64]:
        """The same as shares of the whole network, never 0: (groups,)."""
        shares: NDArray[np.float64] = (self.saved_per_channel() / self.dense).clip(LEAST_SHARE)
        return shares
