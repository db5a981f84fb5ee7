"""Trainings side by side in processes of one thread each; a finished one is kept as JSON and not repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from compressor.files import write_text


class Job(Protocol):
    """One training, as a value that goes to another process."""

    @property
    def file(self) -> str:
        """The name of the file that keeps its figures: other settings, another name."""


J = TypeVar("J", bound=Job)


def finished(run: Callable[[J], dict[str, Any]], jobs: Sequence[J], folder: Path, workers: int) -> list[dict[str, Any]]:
    """What ``run`` says of every job, in their order, from ``folder`` where it is known already."""
    missing = [job for job in jobs if not (folder / job.file).exists()]
    if missing:
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = {pool.submit(run, job): job for job in missing}
            for future in as_completed(futures):
                write_text(folder / futures[future].file, json.dumps(future.result()) + "\n")
                print(futures[future].file, flush=True)
    return [json.loads((folder / job.file).read_text()) for job in jobs]
