"""Which processors the timed process is pinned to: one per core first, the quietest first."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

STAT = Path("/proc/stat")
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
WATCH_SECONDS = 0.2


def pin(threads: int) -> None:
    """Pin this process to ``threads`` of the processors it may use, on systems that know of pinning."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cpus = sorted(os.sched_getaffinity(0))
    if threads < len(cpus):
        before = busy_ticks()
        time.sleep(WATCH_SECONDS)
        busy = {cpu: ticks - before.get(cpu, 0) for cpu, ticks in busy_ticks().items()}
        os.sched_setaffinity(0, choose(cpus, threads, busy=busy, cores={cpu: _core(cpu) for cpu in cpus}))


def choose(cpus: Sequence[int], count: int, *, busy: Mapping[int, int], cores: Mapping[int, str]) -> list[int]:
    """Pick ``count`` of ``cpus``, sharing a core only when there are too few, busy cores last."""
    core_busy: dict[str, int] = {}
    for cpu in cpus:
        core_busy[cores[cpu]] = core_busy.get(cores[cpu], 0) + busy.get(cpu, 0)
    taken: dict[str, int] = {}
    ranked = []
    for cpu in sorted(cpus, key=lambda cpu: busy.get(cpu, 0)):
        turn = taken[cores[cpu]] = taken.get(cores[cpu], 0) + 1
        ranked.append((turn, core_busy[cores[cpu]], cpu))
    return [cpu for _, _, cpu in sorted(ranked)[:count]]


def busy_ticks() -> dict[int, int]:
    """Ticks that each processor has worked since boot (user, nice, system, interrupts, stolen)."""
    try:
        lines = STAT.read_text().splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines if line.startswith("cpu") and line[3].isdigit()]
    return {int(row[0][3:]): sum(map(int, row[1:4] + row[6:9])) for row in rows}


def _core(cpu: int) -> str:
    """A name that the threads of one core share."""
    try:
        return Path(SIBLINGS.format(cpu)).read_text().strip()
    except OSError:
        return str(cpu)
