"""The fork server: everything is imported once, and each command runs in a child with limits of time and memory."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20.0
BYTES = 4 << 30
# Exit code of a child whose command raised something; click never uses it.
RAISED = 70
# How often the memory of a child is looked at.
LOOK = 0.02
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one command. ``code`` is negative when a signal ended it; ``limit`` names the one it broke."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    peak: int
    limit: str | None = None
    orphans: bool = False


def warm(modules: Path) -> None:
    """Import what commands import, and nothing else: a child must find no threads of ours."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings(action="ignore"):
        for name in json.loads(modules.read_text()):
            # Some only exist once another module has made them.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    # So that collecting garbage in a child does not copy the parent's pages.
    gc.freeze()


def fork(work: Callable[[], None], folder: Path, log: Path, environment: dict[str, str]) -> int:
    """The id of a child, in a session of its own, that does ``work`` in ``folder``; it writes to ``log``.out, .err."""
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings(action="ignore"):
        pid = os.fork()
    if pid:
        return pid
    code = RAISED
    try:
        os.setsid()
        _redirect(log)
        os.chdir(folder)
        os.environ.update(environment)
        # A shell without job control starts its background processes without Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tempfile.tempdir = None
        code = _exit_code(work)
    finally:
        os._exit(code)


def compress(arguments: Sequence[str]) -> Callable[[], None]:
    """What the console script does."""

    def work() -> None:
        sys.argv = ["compress", *arguments]
        from compressor.cli import main

        main()

    return work


def run(
    arguments: Sequence[str],
    folder: Path,
    log: Path,
    environment: dict[str, str],
    *,
    seconds: float = SECONDS,
    memory: int = BYTES,
) -> Outcome:
    """Do one command to its end, or to the limit that it breaks."""
    began = time.monotonic()
    pid = fork(compress(arguments), folder, log, environment)
    limit, peak = _watched(pid, began + seconds, memory)
    if limit:
        _end(pid)
    _, status, usage = os.wait4(pid, 0)
    orphans = _end(pid)
    return Outcome(
        code=os.waitstatus_to_exitcode(status),
        stdout=_text(log.with_suffix(".out")),
        stderr=_text(log.with_suffix(".err")),
        seconds=time.monotonic() - began,
        peak=max(peak, usage.ru_maxrss * 1024),
        limit=limit or ("memory" if usage.ru_maxrss * 1024 > memory else None),
        orphans=orphans,
    )


def _exit_code(work: Callable[[], None]) -> int:
    code = RAISED
    try:
        work()
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    except BaseException:
        traceback.print_exc()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _redirect(log: Path) -> None:
    """The child's own streams; nothing that a test runner put in their place."""
    for number, name in ((0, os.devnull), (1, f"{log}.out"), (2, f"{log}.err")):
        kind = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        handle = os.open(name, kind, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    open_streams()


def open_streams() -> None:
    """Python's streams on whatever the first three descriptors are now; they live as long as the process."""
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace", buffering=1)  # noqa: SIM115


def _watched(pid: int, deadline: float, memory: int) -> tuple[str | None, int]:
    """The limit that the child broke, if it did, and the most memory that it was seen with."""
    handle, peak = os.pidfd_open(pid), 0
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while not poll.poll(1000 * LOOK):
            peak = max(peak, _resident(pid))
            if peak > memory:
                return "memory", peak
            if time.monotonic() > deadline:
                return "time", peak
    finally:
        os.close(handle)
    return None, peak


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _end(pid: int) -> bool:
    """Kill whatever is left of the child's session; whether anything was."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
