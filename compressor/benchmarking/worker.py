"""The process that runs models: ``python -m compressor.benchmarking.worker``, never with torch in it.

It reads one JSON request on stdin and writes JSON lines on stdout: ``{"progress": [fraction, text]}``
and last either ``{"answer": ...}`` or ``{"error": message}``.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compressor.benchmarking.affinity import pin
from compressor.benchmarking.inputs import Input, random_inputs
from compressor.benchmarking.latency import Call, sample
from compressor.benchmarking.memory import footprint
from compressor.benchmarking.providers import open_session
from compressor.benchmarking.statistics import settled
from compressor.errors import CompressorError, first_line

Say = Callable[[float, str], None]


def main() -> None:
    """Answer the request on stdin."""
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not end up between our lines
    request = json.load(sys.stdin)

    def write(**line: Any) -> None:
        channel.write(json.dumps(line) + "\n")

    pin(request["threads"])
    try:
        answer = TASKS[request["task"]](request, lambda done, text: write(progress=[done, text]))
    except CompressorError as error:
        write(error=str(error))
    else:
        write(answer=answer)


def memory(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Resident memory of the first file, or why it cannot be told."""
    (opener,) = _openers(request, request["batch"])
    try:
        return asdict(footprint(opener))
    except OSError as error:
        return {"unavailable": str(error)}


def latency(request: dict[str, Any], say: Say) -> dict[str, Any]:
    """Time all files, and a second copy of the first, at every batch size."""
    request["files"].append(request["files"][0])
    answer: dict[str, Any] = {"providers": _providers(request), "batches": []}
    batches = request["batches"]
    for index, batch in enumerate(batches):

        def tick(done: int, wanted: int, index: int = index, batch: int = batch) -> None:
            say((index + done / wanted) / len(batches), f"batch {batch}: pair {done} of {wanted}")

        samples = sample(
            _openers(request, batch),
            pairs=request["pairs"],
            rounds=request["rounds"],
            seconds=request["max_seconds"] / len(batches),
            order=random.Random(request["seed"]),
            settled=settled,
            tick=tick,
        )
        answer["batches"].append(asdict(samples))
    return answer


def _openers(request: dict[str, Any], batch: int) -> list[Callable[[], Call]]:
    return [_opener(request, path, inputs, batch) for path, inputs in _files(request)]


def _opener(request: dict[str, Any], path: Path, inputs: list[Input], batch: int) -> Callable[[], Call]:
    feed = random_inputs(inputs, batch=batch, seed=request["seed"])

    def open_call() -> Call:
        session = open_session(path, provider=request["provider"], threads=request["threads"])

        def call() -> object:
            try:
                return session.run(None, feed)
            except Exception as error:  # ONNX Runtime's errors have no common base
                raise CompressorError(f"{path} does not run at batch {batch}: {first_line(error)}") from error

        return call

    return open_call


def _providers(request: dict[str, Any]) -> list[list[str]]:
    return [
        open_session(path, provider=request["provider"], threads=request["threads"]).get_providers()
        for path, _ in _files(request)
    ]


def _files(request: dict[str, Any]) -> Iterator[tuple[Path, list[Input]]]:
    for file in request["files"]:
        inputs = [Input(entry["name"], entry["dtype"], tuple(entry["shape"])) for entry in file["inputs"]]
        yield Path(file["path"]), inputs


TASKS: dict[str, Callable[[dict[str, Any], Say], dict[str, Any]]] = {"latency": latency, "memory": memory}


if __name__ == "__main__":
    main()
