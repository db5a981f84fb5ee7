"""What a user asks a network to cost at most, and the share of the dense network's cost that this allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compressor.costs import CostModel
from compressor.errors import UsageError
from compressor.records import Interval
from compressor.records.run import Target as Outcome
from compressor.records.run import TargetKind


@dataclass(frozen=True)
class Target:
    """Keep at most so much: a share of the dense network's MACs, parameters or latency, or a size in bytes.

    The size is that of the exported file, or of that file ``compressed``.
    """

    kind: TargetKind
    asked: float
    compressed: bool = False

    def __post_init__(self) -> None:
        if self.kind == "size":
            if not 0 < self.asked < float("inf"):
                raise UsageError(f"--target-size must be a positive number of bytes, got {self.asked:g}")
        elif not 0 < self.asked <= 1:
            raise UsageError(f"--target-{self.kind} must lie in (0, 1], got {self.asked:g}")

    def __str__(self) -> str:
        asked = f"{self.asked:.0f}" if self.kind == "size" else f"{self.asked:g}"
        return f"--target-{self.kind} {asked}{' --compressed' * self.compressed}"

    def shown(self, reached: float) -> str:
        """What was reached, in the units of what was asked for."""
        return f"{reached:,.0f} bytes" if self.kind == "size" else f"{reached:.3f}"


@dataclass(frozen=True, eq=False)
class Limit:
    """A target as a limit of ``share`` on a cost model.

    Where the model foretells what is measured, the share is that with which the measured network meets the target.
    """

    target: Target
    cost: CostModel
    share: float

    def reached(self, kept: Sequence[int]) -> float:
        """What the network with ``kept`` channels per group comes to, in the target's own units."""
        return self.target.asked * (self.cost.total(kept) / self.cost.dense) / self.share

    def outcome(self, kept: Sequence[int], following: str = "") -> Outcome:
        """The record of what was reached; ``following`` is what the next wider network would have been."""
        share = self.cost.total(kept) / self.cost.dense
        return Outcome(
            kind=self.target.kind,
            asked=self.target.asked,
            reached=self.reached(kept),
            met=share <= self.share,
            compressed=self.target.compressed,
            next=following,
        )


def latency_holds(asked: float, ci95: Interval) -> bool:
    """A latency is met when its interval does not lie above the target."""
    return ci95[0] <= asked


def binding(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The outcome that uses most of what was asked for."""
    return max(outcomes, key=lambda one: one.reached / one.asked, default=None)
