"""Resident memory of one model, taken in a process of its own.

Linux only: ``/proc/self/status`` tells the resident set, and writing 5 to ``/proc/self/clear_refs`` resets
its high-water mark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RUNS = 3


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a session adds, and that its runs add at their peak."""

    session_bytes: int
    run_peak_bytes: int


def footprint(open_call: Callable[[], Callable[[], object]]) -> Footprint:
    """Open a session and run it; raises `OSError` where the system does not tell."""
    reset_peak()  # fails before any work
    before = status_bytes("VmRSS")
    call = open_call()
    opened = status_bytes("VmRSS")
    reset_peak()
    for _ in range(RUNS):
        call()
    return Footprint(max(opened - before, 0), max(status_bytes("VmHWM") - opened, 0))


def reset_peak() -> None:
    """Set the high-water mark back to what is resident now."""
    CLEAR.write_text("5")


def status_bytes(field: str) -> int:
    """A size of this process as ``/proc/self/status`` gives it."""
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise OSError(f"{STATUS} has no {field}")
