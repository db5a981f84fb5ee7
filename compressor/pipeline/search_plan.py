"""What a search for the smallest network within a drop does, and whether its data can show such a drop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from compressor.errors import UsageError
from compressor.pipeline.plan import RunPlan
from compressor.records.run import TargetKind
from compressor.report.paired import Pairs, paired_interval, samples_needed

# The largest network, as a share, and where the search begins when no other target is given.
WHOLE, MIDDLE = 1.0, 0.5
# The edge is known when the next target would lie so close to the last, as a share of the first.
CLOSE = 0.02


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Runs like ``run`` along the targets of ``kind``; ``drop`` is in points of the metric.

    ``limit`` is the target that was asked for beside the drop: the search begins there and goes down. At most so many
    ``probes`` are trained. `UsageError` for a drop or a number that cannot be.
    """

    run: RunPlan
    kind: TargetKind
    drop: float
    limit: float | None
    probes: int

    def __post_init__(self) -> None:
        if not 0 <= self.drop < math.inf:
            raise UsageError(f"--target-drop must be a number of points of at least 0, got {self.drop:g}")
        if self.probes < 1:
            raise UsageError(f"--max-probes must be at least 1, got {self.probes}")

    @property
    def largest(self) -> float:
        """The largest target there is."""
        return WHOLE if self.limit is None else self.limit

    def noted(self, notes: tuple[str, ...]) -> SearchPlan:
        """The same plan with notes for the reader of its reports."""
        return replace(self, run=self.run.noted(notes))

    def probe(self, target: float) -> RunPlan:
        """The run of one target."""
        asked: dict[str, Any] = {f"target_{self.kind}": target}
        return replace(self.run, penalties=replace(self.run.penalties, **asked))

    def targets(self, within: Callable[[float], bool | None]) -> Iterator[float]:
        """The targets to try, in halves of what is left; ``within`` says of one that was tried whether it fits."""
        small, large = 0.0, None
        target = MIDDLE * WHOLE if self.limit is None else self.limit
        while True:
            yield target
            if within(target):
                large = target
            else:
                small = target
            following = (small + (self.largest if large is None else large)) / 2
            if abs(following - target) < CLOSE * self.largest:
                return
            target = following


def require_samples(n: int, drop: float) -> list[str]:
    """What must be said of a drop measured on ``n`` samples; `UsageError` when one sample is more than the drop."""
    if not n or (drop and 100 / n > drop):
        needed = math.ceil(100 / drop) if drop else 1
        one = f", of which one is {100 / n:.2f} points" if n else ""
        raise UsageError(
            f"a drop of {drop:g} points cannot be seen on the validation part: it has {n} samples{one}; "
            f"at least {needed:,} are needed: a larger --val-fraction, or a larger --target-drop"
        )
    needed_at_best = samples_needed(Pairs(0, 0, n), drop / 100) if drop else None
    if needed_at_best is None or needed_at_best <= n:
        return []
    reach = 100 * paired_interval(Pairs(0, 0, n))[1]
    return [
        f"the validation part has {n:,} samples: even networks that agree on all of them may differ by {reach:.2f} "
        f"points; to show a drop of {drop:g} points takes {needed_at_best:,} samples or more, so the search goes by "
        "the estimate"
    ]
