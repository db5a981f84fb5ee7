"""How many processors other processes keep busy: what the machine worked, less what we and our children worked.

The load average of the past minute would count our own work: a run trains before it measures.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from compressor.benchmarking.affinity import WATCH_SECONDS, busy_ticks

PROCESSES = Path("/proc")


class Watch:
    """Watches the machine from when it is made."""

    def __init__(self) -> None:
        self._machine, self._own, self._began = busy_ticks(), own_ticks(), time.monotonic()

    def others(self) -> float | None:
        """Processors that other processes have kept busy since; None where the system does not tell."""
        machine, own = sum(busy_ticks().values()), own_ticks()
        seconds = time.monotonic() - self._began
        if not self._machine or not machine or own is None or self._own is None or seconds <= 0:
            return None
        ticks = machine - sum(self._machine.values()) - (own - self._own)
        return max(ticks, 0) / os.sysconf("SC_CLK_TCK") / seconds


def busy_processors() -> float | None:
    """How many processors other work keeps busy, watched for a moment; None if unknown."""
    watch = Watch()
    time.sleep(WATCH_SECONDS)
    return watch.others()


def own_ticks() -> int | None:
    """Ticks that this process, its descendants and those of them that have ended have worked; None if unknown."""
    parents, ticks = dict[int, int](), dict[int, int]()
    with contextlib.suppress(OSError):
        for folder in PROCESSES.iterdir():
            if folder.name.isdecimal() and (fields := _fields(folder)):
                pid = int(folder.name)
                parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    if os.getpid() not in ticks:
        return None
    return sum(count for pid, count in ticks.items() if _is_ours(pid, parents))


def _fields(folder: Path) -> list[str]:
    """Of a process, from its state on (proc(5), /proc/PID/stat); none when it is gone."""
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    seen = set[int]()
    while pid in parents and pid not in seen:
        if pid == os.getpid():
            return True
        seen.add(pid)
        pid = parents[pid]
    return False
