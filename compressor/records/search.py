"""What a search for the smallest network within a drop tried."""

from __future__ import annotations

from compressor.records import Interval, Record


class Drop(Record, frozen=True, kw_only=True):
    """How much worse than the dense network's the metric is on ``n`` samples of the validation part.

    In points of a share, else in the metric's own unit. There is no interval where the metric of a task has none.
    """

    points: float
    ci95: Interval | None
    n: int


class Probe(Record, frozen=True, kw_only=True):
    """One run of the search: ``asked`` is its target, ``folder`` where it lies.

    ``drop`` is None, with the reason ``why``, where there is no network. ``start`` is the folder of the run at whose
    network the training began, empty for the dense one.
    """

    folder: str
    asked: float
    within: bool
    chosen: bool = False
    drop: Drop | None = None
    macs: int | None = None
    start: str = ""
    why: str = ""
