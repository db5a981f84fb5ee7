"""The process that runs models: ``python -m compressor.benchmarking.worker``, never with torch in it.

It reads one task (`process.LatencyTask` or `MemoryTask`), a line, on stdin and writes a `process.Line` at a time on
stdout. When stdin ends, whoever asked is gone, and so is the worker.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

from compressor.benchmarking.affinity import pin
from compressor.benchmarking.copies import layer_us
from compressor.benchmarking.latency import Call, Samples, sample
from compressor.benchmarking.layer_models import input_shape
from compressor.benchmarking.memory import footprint
from compressor.benchmarking.node_times import Opened
from compressor.benchmarking.onnx_file import Input
from compressor.benchmarking.process import (
    FileProfile,
    LatencyAnswer,
    LatencyTask,
    LayerAt,
    LayersAnswer,
    LayersTask,
    Line,
    MemoryAnswer,
    MemoryTask,
    ProfileAnswer,
    ProfileTask,
    Subject,
    ThroughputAnswer,
    ThroughputTask,
    TrialTask,
    Zeros,
)
from compressor.benchmarking.profiling import profiles
from compressor.benchmarking.random_inputs import random_inputs
from compressor.benchmarking.statistics import settled
from compressor.benchmarking.throughput import throughput
from compressor.errors import CompressorError
from compressor.process_memory import bounded
from compressor.progress import Progress
from compressor.records.benchmark import BenchmarkSettings
from compressor.runtime import InferenceSession, choose, given_nodes, open_session, why

Task = LatencyTask | MemoryTask | ProfileTask | ThroughputTask | TrialTask | LayersTask
Result = LatencyAnswer | MemoryAnswer | ProfileAnswer | ThroughputAnswer | LayersAnswer | bool


def main() -> None:
    """Answer the task on stdin."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not end up between our lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()

    def write(line: Line) -> None:
        channel.write(msgspec.json.encode(line) + b"\n")
        channel.flush()

    try:
        with _bounds(task):
            answer = _answer(task, lambda share, text: write(Line(progress=(share, text))))
    except CompressorError as error:
        write(Line(error=str(error)))
    except MemoryError:
        write(Line(error="running the model needs more memory than is allowed; --max-memory allows more"))
    else:
        write(Line(answer=Raw(msgspec.json.encode(answer))))


def _bounds(task: Task) -> AbstractContextManager[None]:
    """Memory for the files and what they ask for; drivers of other providers map far more than they use."""
    if isinstance(task, TrialTask):
        fed = sum(one.nbytes for one in task.given) or 4 * math.prod(task.shape or ())
        return bounded(task.stored_bytes, fed=fed, limit=task.allowed_bytes)
    if task.settings.provider != "cpu":
        return nullcontext()
    if isinstance(task, LayersTask):
        return bounded(0, fed=max(_entries_of(one, task.batch) * 4 for one in task.layers), limit=task.allowed_bytes)
    files = (task.file,) if isinstance(task, MemoryTask) else task.files
    batch = max(task.settings.batches)
    fed = sum(_entries(entry, batch) * np.dtype(entry.dtype).itemsize for file in files for entry in file.inputs)
    return bounded(sum(file.stored_bytes for file in files), fed=fed, limit=task.allowed_bytes)


def _entries(entry: Input, batch: int) -> int:
    return math.prod(batch if size is None else size for size in entry.shape)


def _entries_of(one: LayerAt, batch: int) -> int:
    return math.prod(input_shape(one.layer, one.inputs, batch))


def _answer(task: Task, on_progress: Progress) -> Result:
    if isinstance(task, TrialTask):
        return trial(task)
    pin(task.settings.threads)
    if isinstance(task, LayersTask):
        return layers(task, on_progress)
    if isinstance(task, ProfileTask):
        return _profiled(task)
    if isinstance(task, ThroughputTask):
        return _throughput(task)
    return memory(task) if isinstance(task, MemoryTask) else latency(task, on_progress)


def trial(task: TrialTask) -> bool:
    """Whether the file opens and takes zeros or a black image: always, or an error tells why not."""
    session = open_session(Path(task.path), checked=True)
    names, given = [entry.name for entry in session.get_inputs()], task.given
    if not given and task.shape is not None:
        given = (Zeros("", "float32", (1, *task.shape)),)
    if given:
        feed = {one.name or name: np.zeros(one.shape, one.dtype) for name, one in zip(names, given, strict=False)}
        what = ", ".join(str(one.shape) for one in task.given) or f"an image of {task.shape}"
        try:
            session.run(None, {name: feed[name] for name in names if name in feed})
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise CompressorError(f"{task.path} does not accept {what}: {why(error)}") from error
    return True


def _end_with_the_parent() -> None:
    """Wait for the end of stdin, which comes however the parent ends; costs nothing meanwhile."""
    while os.read(0, 1):
        pass
    os._exit(1)


def memory(task: MemoryTask) -> MemoryAnswer:
    """Resident memory of the file, or why it cannot be told."""
    try:
        return MemoryAnswer(footprint(_opener(task.file, task.batch, task.settings)))
    except OSError as error:
        return MemoryAnswer(None, unavailable=str(error))


def latency(task: LatencyTask, on_progress: Progress) -> LatencyAnswer:
    """Time all files, and a second copy of the first, at every batch size."""
    files, batches = (*task.files, task.files[0]), task.settings.batches

    def timed(index: int, batch: int) -> Samples:
        def tick(done: int, wanted: int) -> None:
            on_progress((index + done / wanted) / len(batches), f"batch {batch}: pair {done} of {wanted}")

        return _timed(files, batch, task.settings, tick)

    return LatencyAnswer(
        providers=tuple(tuple(_open(file, task.settings).get_providers()) for file in files),
        batches=tuple(timed(index, batch) for index, batch in enumerate(batches)),
    )


def _profiled(task: ProfileTask) -> ProfileAnswer:
    asked, batch, settings = choose(task.settings.provider).id, task.settings.batches[0], task.settings
    given: dict[str, int | None] = {}

    def opener(file: Subject) -> Opened:
        feed = random_inputs(file.inputs, batch=batch, seed=settings.seed)

        def opened(path: Path) -> tuple[InferenceSession, Call]:
            session = _open(file, settings, path)
            given[file.path] = given_nodes(session, asked)
            return session, _call(session, file, batch, feed)

        return opened

    found = profiles(list(map(opener, task.files)), seconds=task.seconds)
    return ProfileAnswer(
        tuple(FileProfile(asked, given[file.path], nodes) for file, nodes in zip(task.files, found, strict=True))
    )


def _throughput(task: ThroughputTask) -> ThroughputAnswer:
    places = [(file, batch) for file in task.files for batch in task.settings.batches]
    rates = throughput(
        [_opener(file, batch, task.settings) for file, batch in places],
        [batch for _, batch in places],
        seconds=task.seconds,
        order=random.Random(task.settings.seed),
    )
    by_place = iter(map(tuple, rates))
    return ThroughputAnswer(tuple(tuple(next(by_place) for _ in task.settings.batches) for _ in task.files))


def layers(task: LayersTask, on_progress: Progress) -> LayersAnswer:
    """Time every layer by itself; in each pass in another order, so that a disturbance hits others each time."""
    order, us = random.Random(task.settings.seed), [list[float]() for _ in task.layers]
    wanted = task.passes * len(task.layers)
    for number in range(task.passes):
        for done, place in enumerate(order.sample(range(len(us)), len(us))):
            us[place].append(layer_us(task.layers[place], task.batch, task.settings))
            on_progress((number * len(us) + done + 1) / wanted, f"layer {done + 1} of {len(us)}, pass {number + 1}")
    return LayersAnswer(tuple(map(tuple, us)))


def _timed(
    files: Sequence[Subject], batch: int, settings: BenchmarkSettings, tick: Callable[[int, int], None]
) -> Samples:
    return sample(
        [_opener(file, batch, settings) for file in files],
        pairs=settings.pairs,
        rounds=settings.rounds,
        seconds=settings.max_seconds / len(settings.batches),
        order=random.Random(settings.seed),
        settled=settled,
        tick=tick,
    )


def _opener(file: Subject, batch: int, settings: BenchmarkSettings) -> Callable[[], Call]:
    feed = random_inputs(file.inputs, batch=batch, seed=settings.seed)
    return lambda: _call(_open(file, settings), file, batch, feed)


def _call(session: InferenceSession, file: Subject, batch: int, feed: Mapping[str, NDArray[Any]]) -> Call:
    def call() -> object:
        try:
            return session.run(None, feed)
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise CompressorError(f"{file.path} does not run at batch {batch}: {why(error)}") from error

    return call


def _open(file: Subject, settings: BenchmarkSettings, profile: Path | None = None) -> InferenceSession:
    return open_session(
        Path(file.path), provider=settings.provider, threads=settings.threads, checked=True, profile=profile
    )


if __name__ == "__main__":
    main()
