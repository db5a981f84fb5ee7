"""How long each node of a model takes, by the runtime's own clock."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from compressor.runtime import InferenceSession

KERNEL = "_kernel_time"
# What several nodes became that a provider compiled into one.
COMPILED = "compiled nodes"
# They run nodes of their own, which are events too.
AROUND = ("If", "Loop", "Scan")
# A vector of no more numbers is a shape, or was made of one.
MOST_DIMENSIONS = 16

Call = Callable[[], object]
Opened = Callable[[Path], tuple[InferenceSession, Call]]


class NodeTime(Struct, frozen=True):
    """A node that was run: its name, operator, provider, and the time of each time it ran, in microseconds.

    ``of_shapes`` says that it only computes shapes, of ``runs`` calls of the model.
    """

    name: str
    operator: str
    provider: str
    runs_us: tuple[int, ...]
    of_shapes: bool = False
    runs: int = 0

    @property
    def us(self) -> float:
        """The mean of the faster half of the runs: the others were disturbed."""
        fast = sorted(self.runs_us)[: max(1, len(self.runs_us) // 2)]
        return sum(fast) / len(fast)

    @property
    def us_per_call(self) -> float:
        """The same for one call of the model, in which the body of a loop runs more than once."""
        return self.us * len(self.runs_us) / self.runs if self.runs else self.us


def recorded(opened: Opened, *, warm: int, runs: int) -> list[NodeTime]:
    """The time of every node, in the order in which they run first, after ``warm`` runs that do not count.

    ``opened`` makes a session, which writes its profile where it is told to, and its call.
    """
    with tempfile.TemporaryDirectory() as folder:
        session, call = opened(Path(folder) / "profile")
        for _ in range(warm + runs):
            call()
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(KERNEL) and event["args"]["op_name"] not in AROUND:
            found.setdefault(event["name"].removesuffix(KERNEL), []).append(event)
    return [
        _node(name, place, ran[len(ran) * warm // (warm + runs) :], runs)
        for place, (name, ran) in enumerate(found.items())
    ]


def _node(name: str, place: int, events: list[dict[str, Any]], runs: int) -> NodeTime:
    known = events[0]["args"]
    compiled = name.startswith(known["provider"])
    return NodeTime(
        name=f"{COMPILED} {place}" if compiled else name,  # the provider's own name counts sessions
        operator=COMPILED if compiled else known["op_name"],
        provider=known["provider"],
        runs_us=tuple(event["dur"] for event in events),
        of_shapes=_of_shapes(known),
        runs=runs,
    )


def _of_shapes(known: Mapping[str, Any]) -> bool:
    """Whether a node only computes shapes: it reads a size, or takes and makes nothing but scalars and short vectors.

    ONNX Runtime keeps such nodes on the CPU on purpose, where the sizes are needed.
    """
    tensors = [*known.get("input_type_shape", ()), *known.get("output_type_shape", ())]
    shapes = [shape for tensor in tensors for shape in tensor.values()]
    short = all(len(shape) <= 1 and sum(shape) <= MOST_DIMENSIONS for shape in shapes)
    return known["op_name"] in ("Shape", "Size") or (short and bool(shapes))
