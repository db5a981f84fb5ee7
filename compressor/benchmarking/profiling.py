"""What each node of a file takes, on which provider: fresh sessions of their own, apart from those that are timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from compressor.benchmarking.node_times import NodeTime, Opened, recorded

SESSIONS = 3
FIRST_RUNS, MOST_RUNS = 2, 50
WARM_RUNS = 3
# An event is some hundred bytes of JSON.
MOST_EVENTS = 50_000


class ProfiledNode(Struct, frozen=True):
    """A node as it ran: microseconds of one call, and whether it only computes shapes."""

    name: str
    operator: str
    provider: str
    us: float
    of_shapes: bool = False


def profile(opened: Opened, *, seconds: float) -> tuple[ProfiledNode, ...]:
    """The nodes of the session that ``opened`` makes and calls, in the order in which they run.

    The time of a node is the median over sessions of the mean of the faster half of its runs. The first session tells
    how many runs of the others fit into ``seconds``.
    """
    began = time.perf_counter()
    sessions = [recorded(opened, warm=WARM_RUNS, runs=FIRST_RUNS)]
    each = (time.perf_counter() - began) / (WARM_RUNS + FIRST_RUNS)
    fitting = int(seconds / SESSIONS / max(each, 1e-9)) - WARM_RUNS
    runs = min(MOST_RUNS, MOST_EVENTS // max(len(sessions[0]), 1), fitting)
    if runs > FIRST_RUNS:
        sessions = [recorded(opened, warm=WARM_RUNS, runs=runs) for _ in range(SESSIONS)]
    return _combined(sessions)


def _combined(sessions: Sequence[Sequence[NodeTime]]) -> tuple[ProfiledNode, ...]:
    us: dict[str, list[float]] = {}
    for nodes in sessions:
        for node in nodes:
            us.setdefault(node.name, []).append(node.us_per_call)
    first = {node.name: node for nodes in reversed(sessions) for node in nodes}
    return tuple(
        ProfiledNode(name, first[name].operator, first[name].provider, median(us[name]), first[name].of_shapes)
        for name in us
    )
