"""Further processes of this machine that work on the points of the same sweep: the same command once more, each."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO

import click

ARGUMENTS = "compressor.arguments"
# Set in the environment of a helper.
HELPER = "COMPRESSOR_HELPER"
# How long a helper that is asked to stop may take.
PATIENCE_S = 20.0


def arguments() -> list[str]:
    """What this command was called with, its name first."""
    given: list[str] = click.get_current_context().meta[ARGUMENTS]
    return given


def command_line() -> str:
    """The command as it is typed."""
    return shlex.join(["compress", *sys.argv[1:]])


def share_processors(workers: int) -> None:
    """Give each of so many processes its part of the processors; what is set in the environment stays."""
    import torch

    from compressor.benchmarking.environment import allowed_cpus

    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        threads = max(1, len(allowed_cpus()) // workers)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        torch.set_num_threads(threads)


@contextlib.contextmanager
def helpers(count: int, warn: Callable[[str], None]) -> Iterator[None]:
    """Let ``count`` processes take points beside this one inside the block; they end with it, whatever happens.

    One that fails is told by ``warn``: its points are taken by the others.
    """
    with contextlib.ExitStack() as stack:
        words = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        started: list[subprocess.Popen[bytes]] = []
        try:
            for file in words:
                started.append(_started(file))
            yield
            for process in started:
                process.wait()
        finally:
            for process, file in zip(started, words, strict=False):
                if process.poll() is None:
                    _stop(process)
                elif process.returncode > 0:
                    warn(f"a worker ended with exit code {process.returncode}: {last_words(file)}")


def end_with_parent() -> None:
    """In a helper: stop when the process that started it is gone, however it went."""
    if HELPER in os.environ:
        when_parent_is_gone(partial(os.kill, os.getpid(), signal.SIGTERM))


def when_parent_is_gone(act: Callable[[], object]) -> None:
    """Call ``act``, beside all else, when the process is gone that holds the other end of this one's stdin."""

    def wait() -> None:
        # Not by way of `sys.stdin`, whose lock an interpreter that ends would wait for.
        while os.read(0, 1):
            pass  # it ends with whoever holds the other end
        act()

    threading.Thread(target=wait, daemon=True).start()


def last_words(file: IO[bytes]) -> str:
    """The last line of what a process wrote into ``file``."""
    file.seek(0)
    lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def _started(words: IO[bytes]) -> subprocess.Popen[bytes]:
    given = [argument for argument in arguments() if argument != "--overwrite"]
    command = [sys.executable, "-m", "compressor", *given, "--workers", "1", "--points-only", "--quiet"]
    known = {**os.environ, HELPER: "1"}
    return subprocess.Popen(command, env=known, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to stop, which keeps its last state; kill it when it does not."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
