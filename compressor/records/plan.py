"""What a run is going to do, before it trains anything."""

from __future__ import annotations

from collections.abc import Mapping

from compressor.records import Record
from compressor.records.run import LayerChange, Target
from compressor.records.stages import Pair


class PlannedStage(Record, frozen=True, kw_only=True):
    """A stage with its estimated time; ``epochs`` and ``steps`` are None where nothing is trained."""

    name: str
    title: str
    epochs: int | None = None
    steps: int | None = None
    seconds: float


class RunForecast(Record, frozen=True, kw_only=True):
    """A run as a few steps of it predict it; costs are (dense, small) pairs.

    ``runs`` is how many runs a search takes at most; ``seconds`` is the time of all of them. ``disk_bytes`` is what one
    run leaves in its folder and ``peak_disk_bytes`` what it needs on the way; ``memory_bytes`` is the most that this
    process had resident. ``channels`` and ``layers`` are what the target keeps by the weights as they are: training
    revises that. ``steps_measured`` is how many steps were timed, of so many ``processes``.
    """

    stages: tuple[PlannedStage, ...]
    runs: int = 1
    seconds: float
    memory_bytes: int
    disk_bytes: int
    peak_disk_bytes: int
    target: Target | None
    macs: Pair
    parameters: Pair
    channels: Mapping[str, Pair]
    layers: tuple[LayerChange, ...]
    steps_measured: int
    processes: int = 1
