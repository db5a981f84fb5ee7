"""How long each node of a model takes, by the runtime's own clock."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from numpy.typing import NDArray

from compressor.runtime import profiled_session

KERNEL = "_kernel_time"
WARM_RUNS = 5


class NodeTime(Struct, frozen=True):
    """A node that was run: its name, operator, provider, and every run's time, in microseconds."""

    name: str
    operator: str
    provider: str
    runs_us: tuple[int, ...]

    @property
    def us(self) -> float:
        """The mean of the faster half of the runs: the others were disturbed."""
        fast = sorted(self.runs_us)[: max(1, len(self.runs_us) // 2)]
        return sum(fast) / len(fast)


def node_times(
    model: bytes, feed: Mapping[str, NDArray[Any]], *, runs: int, provider: str, threads: int
) -> list[NodeTime]:
    """The time of every node of ``model``, in the order in which they run first, after some runs that do not count."""
    with tempfile.TemporaryDirectory() as folder:
        session = profiled_session(model, Path(folder) / "profile", provider=provider, threads=threads)
        for _ in range(WARM_RUNS + runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, tuple[str, str, list[int]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
            known = event["args"]
            name = event["name"].removesuffix(KERNEL)
            found.setdefault(name, (known["op_name"], known["provider"], []))[2].append(event["dur"])
    return [
        NodeTime(name, operator, where, tuple(times[len(times) * WARM_RUNS // (WARM_RUNS + runs) :]))
        for name, (operator, where, times) in found.items()
    ]
