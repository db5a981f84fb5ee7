"""The machine that a benchmark ran on, and what about it makes timings doubtful."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import onnx

from compressor import runtime
from compressor.records.benchmark import Environment

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
QUOTA_V2 = Path("/sys/fs/cgroup/cpu.max")
QUOTA_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")

# Instruction sets that decide which kernels a runtime picks.
_TELLING = re.compile(r"avx|fma|f16c|vnni|amx|sse4_2|asimd|sve|bf16|i8mm")


def describe(
    load_before: tuple[float, ...], busy_before: float | None = None, busy_during: float | None = None
) -> Environment:
    """Look at this machine; ``load_before`` is `load_average` from before the work.

    ``busy_before`` and ``busy_during`` are how many processors other processes kept busy, None if unknown.
    """
    info = _read(CPUINFO)
    flags = set((_field(info, "flags") or _field(info, "Features") or "").split())
    return Environment(
        cpu_model=_field(info, "model name") or platform.processor() or platform.machine(),
        arch=platform.machine(),
        flags=tuple(sorted(flag for flag in flags if _TELLING.search(flag))),
        logical_cpus=os.cpu_count() or 1,
        physical_cpus=_physical_cpus(info),
        affinity=tuple(allowed_cpus()),
        governor=_read(GOVERNOR).strip() or None,
        virtualised="hypervisor" in flags if platform.machine() in ("x86_64", "AMD64") and flags else None,
        load_before=load_before,
        load_after=load_average(),
        busy_before=busy_before,
        busy_during=busy_during,
        memory_total_bytes=_memory_total(),
        os=platform.system(),
        kernel=platform.release(),
        python=platform.python_version(),
        onnxruntime=runtime.VERSION,
        onnx=onnx.__version__,
        cpu_quota=_quota(),
    )


def allowed_cpus() -> list[int]:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def load_average() -> tuple[float, ...]:
    """Mean number of running processes over 1, 5 and 15 minutes; empty where the system does not tell."""
    return os.getloadavg() if hasattr(os, "getloadavg") else ()


def timing_warnings(environment: Environment, threads: int) -> Iterator[str]:
    """Warnings about circumstances that disturb timings."""
    yield from _busy(environment)
    if environment.governor not in (None, "performance"):
        yield f"the frequency governor is {environment.governor}, not performance: clock speeds vary"
    if environment.cpu_quota is not None and environment.cpu_quota < threads:
        yield f"the container may use {environment.cpu_quota:g} processors, fewer than {threads} threads"


def _busy(environment: Environment) -> Iterator[str]:
    cpus = environment.logical_cpus or 1  # not the affinity: the work of others is that on the whole machine
    count = "1 processor" if cpus == 1 else f"{cpus} processors"
    times = (("before", environment.busy_before), ("during", environment.busy_during))
    for when, busy in times:
        if busy is not None and busy > cpus / 2:
            yield f"the machine was busy: other work kept {busy:.1f} of {count} busy {when} the measurement"
    if any(busy is None for _, busy in times):
        yield "whether other work disturbed the timing is unknown: this system does not tell what keeps it busy"


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _field(info: str, name: str) -> str | None:
    line = re.search(rf"^{name}\s*:\s*(.*)$", info, re.MULTILINE)
    return line[1].strip() if line else None


def _physical_cpus(info: str) -> int | None:
    blocks = [(_field(block, "physical id"), _field(block, "core id")) for block in info.split("\n\n")]
    cores = {block for block in blocks if None not in block}
    return len(cores) or None


def _memory_total() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _quota() -> float | None:
    """Processors that the control group allows, None without a limit."""
    quota, _, period = _read(QUOTA_V2).strip().partition(" ")
    if not quota:
        quota, period = (_read(path).strip() for path in QUOTA_V1)
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None
