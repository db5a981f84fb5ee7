"""Runs the worker in a process of its own: what it is asked, what it answers, and how both travel."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct, field

import compressor
from compressor.benchmarking.latency import Samples
from compressor.benchmarking.memory import Footprint
from compressor.benchmarking.onnx_file import Input
from compressor.benchmarking.profiling import ProfiledNode
from compressor.errors import CompressorError
from compressor.limits import allowed
from compressor.progress import Progress
from compressor.records.benchmark import BenchmarkSettings
from compressor.records.costs import Layer

WORKER = "compressor.benchmarking.worker"
Answer = TypeVar("Answer")


class Subject(Struct, frozen=True):
    """A file to run, what it takes, and its bytes with those of its external weights."""

    path: str
    inputs: tuple[Input, ...]
    stored_bytes: int


class LatencyTask(Struct, frozen=True, tag="latency"):
    """Time all files, and a second copy of the first, at every batch size; a `LatencyAnswer` comes back."""

    files: tuple[Subject, ...]
    settings: BenchmarkSettings
    allowed_bytes: int = field(default_factory=allowed)


class LatencyAnswer(Struct, frozen=True):
    """The providers of each file, and the samples of each batch size, whose last subject is the control."""

    providers: tuple[tuple[str, ...], ...]
    batches: tuple[Samples, ...]


class MemoryTask(Struct, frozen=True, tag="memory"):
    """Take the memory of one file at one batch size; a `MemoryAnswer` comes back."""

    file: Subject
    batch: int
    settings: BenchmarkSettings
    allowed_bytes: int = field(default_factory=allowed)


class MemoryAnswer(Struct, frozen=True):
    """The memory, or why it cannot be told."""

    footprint: Footprint | None
    unavailable: str = ""


class ProfileTask(Struct, frozen=True, tag="profile"):
    """Profile all files at the first batch size, within so many seconds; a `ProfileAnswer` comes back."""

    files: tuple[Subject, ...]
    seconds: float
    settings: BenchmarkSettings
    allowed_bytes: int = field(default_factory=allowed)


class FileProfile(Struct, frozen=True):
    """The provider that was asked for, how many nodes it was given, where that is known, and every node as it ran."""

    asked: str
    given: int | None
    nodes: tuple[ProfiledNode, ...]


class ProfileAnswer(Struct, frozen=True):
    """The profile of each file."""

    files: tuple[FileProfile, ...]


class ThroughputTask(Struct, frozen=True, tag="throughput"):
    """Run all files in closed loops at every batch size, for so many seconds; a `ThroughputAnswer` comes back."""

    files: tuple[Subject, ...]
    seconds: float
    settings: BenchmarkSettings
    allowed_bytes: int = field(default_factory=allowed)


class ThroughputAnswer(Struct, frozen=True):
    """Items a second, by file, by batch size and by round."""

    rates: tuple[tuple[tuple[float, ...], ...], ...]


class Zeros(Struct, frozen=True):
    """What an input is given; without a name it is the next one of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """So many bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class TrialTask(Struct, frozen=True, tag="trial"):
    """Open a file and run it on ``given`` zeros, or on one black image of ``shape``, if known; True comes back."""

    path: str
    shape: tuple[int, ...] | None
    stored_bytes: int
    given: tuple[Zeros, ...] = ()
    allowed_bytes: int = field(default_factory=allowed)


class LayerAt(Struct, frozen=True):
    """A layer at the widths at which it is to be timed."""

    layer: Layer
    inputs: int
    outputs: int


class LayersTask(Struct, frozen=True, tag="layers"):
    """Time layers by themselves, each so many times in a fresh session; a `LayersAnswer` comes back."""

    layers: tuple[LayerAt, ...]
    batch: int
    passes: int
    settings: BenchmarkSettings
    allowed_bytes: int = field(default_factory=allowed)


class LayersAnswer(Struct, frozen=True):
    """The microseconds of each layer, one entry a pass."""

    us: tuple[tuple[float, ...], ...]


class Line(Struct, frozen=True, omit_defaults=True):
    """What the worker writes, one a line: progress, and last either its answer or an error."""

    progress: tuple[float, str] | None = None
    answer: Raw = Raw()
    error: str | None = None


def request(
    task: object, answer: type[Answer], on_progress: Progress, *, seconds: float, lifted_by: str = ""
) -> Answer:
    """Send ``task`` to a fresh worker, which is stopped after ``seconds``.

    Raises `CompressorError` with its words when it fails or dies; ``lifted_by`` names the option that gives more time.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as complaints:
        # -P: a file called random.py in the user's folder must not be taken for the library's.
        with subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=_environment(),
        ) as process:
            late = threading.Event()
            try:
                with _deadline(seconds, process, late):
                    last = _converse(process, msgspec.json.encode(task) + b"\n", on_progress)
            finally:
                process.kill()
                if process.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
        if last is None and late.is_set():
            raise CompressorError(f"running the model took more than {seconds:g} s, so it was stopped{lifted_by}")
        if last is None:
            raise CompressorError(f"the benchmark process died ({_end(process.returncode)}): {_last(complaints)}")
    if last.error is not None:
        raise CompressorError(last.error)
    return msgspec.json.decode(last.answer, type=answer)


@contextmanager
def _deadline(seconds: float, process: subprocess.Popen[bytes], late: threading.Event) -> Iterator[None]:
    """Kill ``process`` and set ``late`` when the block takes longer than ``seconds``."""

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _converse(process: subprocess.Popen[bytes], message: bytes, on_progress: Progress) -> Line | None:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(message)
        process.stdin.flush()  # and left open: its end tells the worker that nobody waits for it any more
    for text in process.stdout:
        if not text.endswith(b"\n"):
            break  # cut short by the worker's death
        line = msgspec.json.decode(text, type=Line)
        if line.progress is None:
            return line
        on_progress(*line.progress)
    process.wait()
    return None


def _environment() -> dict[str, str]:
    """The user's environment, in which the worker finds this very package."""
    home = str(Path(compressor.__file__).parent.parent)
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{home}{os.pathsep}{path}" if path else home}


def _end(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last(complaints: IO[str]) -> str:
    complaints.seek(0)
    lines = [line for line in complaints.read().splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
