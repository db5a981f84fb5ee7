"""What each node of a file takes, on which provider: fresh sessions of their own, apart from those that are timed."""

from __future__ import annotations

import time
from collections.abc import Sequence

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


def profiles(files: Sequence[Opened], *, seconds: float) -> list[tuple[ProfiledNode, ...]]:
    """The nodes of each file, in the order in which they run; a file makes a session and its call.

    Each has some sessions, in turns with the others, and counts with the one that took least: what disturbs it only
    adds. A first round tells how many runs of the others fit into ``seconds``.
    """
    began, first = time.perf_counter(), [recorded(file, warm=WARM_RUNS, runs=FIRST_RUNS) for file in files]
    each = (time.perf_counter() - began) / (WARM_RUNS + FIRST_RUNS)
    fitting = int(seconds / SESSIONS / max(each, 1e-9)) - WARM_RUNS
    rounds, largest = [first], max(map(len, first), default=0)
    runs = min(MOST_RUNS, MOST_EVENTS // max(largest, 1), fitting)
    if runs > FIRST_RUNS:
        rounds = [[recorded(file, warm=WARM_RUNS, runs=runs) for file in files] for _ in range(SESSIONS)]
    return [_nodes(min(sessions, key=_total)) for sessions in zip(*rounds, strict=True)]


def _total(nodes: Sequence[NodeTime]) -> float:
    return sum(node.us_per_call for node in nodes)


def _nodes(nodes: Sequence[NodeTime]) -> tuple[ProfiledNode, ...]:
    return tuple(
        ProfiledNode(node.name, node.operator, node.provider, node.us_per_call, node.of_shapes) for node in nodes
    )
