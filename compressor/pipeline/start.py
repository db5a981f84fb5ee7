"""Where a run's training begins: at the dense network, or at a smaller one that an earlier run made of it.

The dense network stays the teacher, what targets are shares of, and what the result is compared with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from compressor.checkpoints import Network
from compressor.checkpoints.fingerprints import fingerprint
from compressor.costs import count_macs, count_parameters
from compressor.records.run import Target, TargetKind
from compressor.splitting import SplittingConfig
from compressor.splitting.targets import binding
from compressor.stages.fine_tune import FineTuned
from compressor.stages.shrink import ShrunkNetwork, layer_changes

# Targets that are shares of these; a size is no share, and a latency is measured, not counted.
COUNTS: dict[TargetKind, Callable[[Network], int]] = {
    "macs": lambda network: count_macs(network.model, network.example_input()),
    "params": lambda network: count_parameters(network.model),
}


def allows_start(penalties: SplittingConfig) -> bool:
    """Whether the targets keep their meaning when the training begins at a smaller network."""
    return penalties.target_latency is None


@dataclass(frozen=True)
class Start:
    """The ``network`` that training begins at, made of the ``dense`` one; they may be the same."""

    dense: Network
    network: Network

    @property
    def is_dense(self) -> bool:
        """Whether it begins at the dense network."""
        return self.network is self.dense

    @property
    def settings(self) -> dict[str, Any]:
        """What it adds to the settings of a run."""
        return {} if self.is_dense else {"start_sha256": fingerprint(self.network.model.state_dict())}

    def penalties(self, asked: SplittingConfig) -> SplittingConfig:
        """The same targets as shares of the network that training begins at."""
        given = {kind: getattr(asked, f"target_{kind}") for kind in COUNTS}
        shares: dict[str, Any] = {
            f"target_{kind}": min(1.0, share / self._share(kind)) for kind, share in given.items() if share is not None
        }
        return asked if self.is_dense else dataclasses.replace(asked, **shares)

    def tuned(self, tuned: FineTuned, asked: SplittingConfig) -> FineTuned:
        """With what was reached as shares of the dense network."""
        projection = tuned.record.projection
        if self.is_dense or projection is None:
            return tuned
        targets = tuple(self._of_dense(target, asked) for target in projection.targets)
        projection = replace(projection, targets=targets, target=binding(targets))
        return dataclasses.replace(tuned, record=replace(tuned.record, projection=projection))

    def shrunk(self, shrunk: ShrunkNetwork) -> ShrunkNetwork:
        """With costs and layers beside those of the dense network; what was removed stays that of this run."""
        if self.is_dense:
            return shrunk
        models, example = (self.dense.model, shrunk.network.model), self.dense.example_input()
        record = replace(
            shrunk.record,
            macs=(count_macs(models[0], example), shrunk.record.macs[1]),
            parameters=(count_parameters(models[0]), shrunk.record.parameters[1]),
            layers=layer_changes(*models, example),
        )
        return dataclasses.replace(shrunk, record=record)

    def _of_dense(self, target: Target, asked: SplittingConfig) -> Target:
        if target.kind not in COUNTS:
            return target
        share = getattr(asked, f"target_{target.kind}")
        return replace(target, asked=share, reached=target.reached * self._share(target.kind))

    def _share(self, kind: TargetKind) -> float:
        return COUNTS[kind](self.network) / COUNTS[kind](self.dense)
