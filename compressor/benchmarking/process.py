"""Runs the worker in a process of its own and brings its answer back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import compressor
from compressor.errors import CompressorError

WORKER = "compressor.benchmarking.worker"


def ask(request: Mapping[str, Any], say: Callable[[float, str], None]) -> dict[str, Any]:
    """Send ``request`` to a fresh worker; raises `CompressorError` with its words when it fails or dies."""
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        # -P: a file called random.py in the user's folder must not be taken for the library's.
        with subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=_environment(),
        ) as process:
            try:
                found = _converse(process, request, say)
            finally:
                process.kill()
        if found is None:
            raise CompressorError(f"the benchmark process died ({_end(process.returncode)}): {_last(complaints)}")
    if "error" in found:
        raise CompressorError(found["error"])
    return dict(found["answer"])


def _converse(
    process: subprocess.Popen[str], request: Mapping[str, Any], say: Callable[[float, str], None]
) -> dict[str, Any] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdin as stdin:
            json.dump(request, stdin)
    except BrokenPipeError:
        pass
    for line in process.stdout:
        if not line.endswith("\n"):
            break  # cut short by the worker's death
        message: dict[str, Any] = json.loads(line)
        if "progress" not in message:
            return message
        say(*message["progress"])
    process.wait()
    return None


def _environment() -> dict[str, str]:
    """The user's environment, in which the worker finds this very package."""
    home = str(Path(compressor.__file__).parent.parent)
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{path}" if path else home}


def _end(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last(complaints: Any) -> str:
    complaints.seek(0)
    lines = [line for line in complaints.read().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
