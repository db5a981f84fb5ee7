"""A user's own batches: what a function in a file or module of theirs returns, three parts that can be gone through."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from compressor.data.randomness import OwnRandomness
from compressor.errors import DataError, UsageError
from compressor.inputs import samples_in
from compressor.structures import tensors
from compressor.tasks.base import Task
from compressor.user_code import Kind, called, foreign, names_file, of_file, of_module

Part = Literal["test", "val", "train"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
KIND = Kind("data", "function", "a call without arguments")


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaders:
    """Batches of three parts, as the network gets them, and the task that knows what is in them.

    ``source`` is the SHA-256 of the code that makes them; empty where it is not known.
    """

    ref: str
    train: Iterable[Any]
    val: Iterable[Any]
    test: Iterable[Any]
    task: Task
    source: str = ""
    first: Mapping[Part, Any] = field(init=False, repr=False)
    """The first batch of each part: whoever asks again would wait for the processes of a loader again."""

    def __post_init__(self) -> None:
        batches = {part: _first(self.ref, part, getattr(self, part)) for part in PARTS}
        object.__setattr__(self, "first", batches)

    @property
    def validates(self) -> bool:
        """Whether there are batches to choose by: always."""
        return True

    @cached_property
    def batches(self) -> int:
        """Training batches in an epoch; without a length they are counted."""
        try:
            return len(self.train)  # type: ignore[arg-type]
        except TypeError:
            return sum(1 for _ in self.train)

    @cached_property
    def train_samples(self) -> int:
        """About so many samples the training part has, if all batches are as large as the first."""
        return self.batches * samples_in(self.task.inputs(self.first["train"]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the code, the number of training batches, and the first batches of the parts for measuring.

        The order of the training part is its own.
        """
        digest = hashlib.sha256(f"{self.source} {self.batches}".encode())
        for part in PARTS[1:]:
            add_batch(digest, self.first[part])
        return digest.hexdigest()


def is_code(ref: str) -> bool:
    """Whether ``ref`` names a function of the user's: ``file.py:name`` or ``package.module:name``."""
    head, colon, _ = ref.partition(":")
    return names_file(ref) or (bool(colon) and "." in head and all(part.isidentifier() for part in head.split(".")))


def load_loaders(ref: str, task: Task) -> Loaders:
    """Run the function ``ref``, and take the three parts that it returns: a tuple, or a dict of train, val and test.

    `UsageError` where it fails or returns something else, `DataError` for a part that is empty or cannot be repeated.
    """
    function = of_file(KIND, ref) if names_file(ref) else of_module(KIND, ref)
    made = called(KIND, function, ref, {})
    if isinstance(made, Mapping) and set(made) == set(PARTS):
        made = [made[part] for part in PARTS]
    if not isinstance(made, list | tuple) or len(made) != len(PARTS):
        what = f"{len(made)} parts" if isinstance(made, list | tuple) else f"a {type(made).__name__}"
        raise UsageError(f"{ref} returned {what}; three are needed: train, validation and test batches")
    return Loaders(ref=ref, **dict(zip(PARTS, made, strict=True)), task=task, source=_source(function))


def add_batch(digest: Any, batch: Any) -> None:
    """Add the tensors of a batch to a hash."""
    for path, tensor in tensors(batch):
        digest.update(f"{path} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)


def digest_of(batch: Any) -> str:
    """SHA-256 of the tensors of a batch."""
    digest = hashlib.sha256()
    add_batch(digest, batch)
    return digest.hexdigest()


def _first(ref: str, part: Part, batches: Any) -> Any:
    """The first batch, for which nobody's random numbers are used up; an error where there is none."""
    what = f"the {part} part of {ref}"
    if not isinstance(batches, Iterable):
        raise UsageError(
            f"{what} is a {type(batches).__name__}; batches to go through are needed, such as a DataLoader"
        )
    with OwnRandomness(0).drawn(), foreign(f"{what} failed to give a batch"):
        given = iter(batches)
        batch = None if given is batches else next(given, None)
    if given is batches:
        raise UsageError(
            f"{what} is a {type(batches).__name__}, which is empty after one epoch; return a DataLoader or a list"
        )
    if batch is None:
        raise DataError(f"{what} has no batch")
    if not any(True for _ in tensors(batch)):
        raise DataError(f"{what} gives a {type(batch).__name__} without tensors as a batch")
    return batch


def _source(function: Any) -> str:
    try:
        return hashlib.sha256(Path(inspect.getfile(inspect.unwrap(function))).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""
