"""The states of a training on disk: all that its next step reads, so that it can go on."""

from __future__ import annotations

import hashlib
import io
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import torch

from compressor.errors import CheckpointError, CompressorError, CompressorWarning, DamagedState, Diverged, UsageError
from compressor.files import atomic_path, remove_folder, remove_leftovers
from compressor.records import Metric, Record
from compressor.records.run import Epoch
from compressor.regular_files import read_bytes

FORMAT = "compressor.training-state.1"
# The newest, and the one before it for when the newest is damaged.
KEPT = 2
DIGEST_BYTES = hashlib.sha256().digest_size


class Course(Record, frozen=True, kw_only=True):
    """What a training has found so far: the metric before it, and every epoch, undone ones included.

    ``steps`` are those of the epoch after them, where that was begun.
    """

    before: Metric
    epochs: tuple[Epoch, ...] = ()
    steps: int = 0

    @property
    def done(self) -> int:
        """How many epochs count."""
        return sum(not epoch.lr_halved for epoch in self.epochs)

    def __str__(self) -> str:
        """For people: how far it is."""
        steps = f"{self.steps} step{'s'[: self.steps > 1]} of epoch {self.done + 1}" if self.steps else ""
        epochs = f"epoch {self.done}" if self.done or not steps else ""
        return " and ".join(part for part in (epochs, steps) if part)


@dataclass(frozen=True)
class State:
    """The course of a training, and the tensors and plain data with which it goes on."""

    course: Course
    run: Mapping[str, Any]


class States:
    """The states of one training, in a folder ``BASE.training-...`` whose name ends with a hash of the settings.

    ``every`` so many epochs one is written, and one after the last epoch; with ``steps`` also after so many steps of an
    epoch. The last two are kept. As a context manager it adds to an exception what is kept, and where; without any
    state the folder goes. `remove` it when the result is on disk. `UsageError` when ``every`` or ``steps`` is less than
    1.
    """

    def __init__(self, base: Path, *, every: int = 1, steps: int | None = None) -> None:
        check_every(every, steps)
        self._base, self._every, self._steps = Path(base), every, steps
        self._fingerprint = ""
        self._folder: Path | None = None
        self._newest: Course | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self._folder is None:
            return
        if isinstance(error, DamagedState):
            error.add_note(f"remove {self._folder} to start the training again")
        elif self._newest is None or not (self._newest.done or self._newest.steps) or isinstance(error, Diverged):
            self.remove()
        else:
            error.add_note(
                f"the training up to {self._newest} is kept in {self._folder}, and the same command goes on from there"
            )

    @property
    def folder(self) -> Path:
        """Where the states are, once they are open."""
        assert self._folder is not None, "open() comes first"
        return self._folder

    def open(self, fingerprint: str) -> State | None:
        """The newest whole state of the training with these settings (`settings_fingerprint`); None when there is none.

        Warns with `CompressorWarning` of damaged states, which are passed over, and of those of other settings.
        """
        others = set(folders_of(self._base)) if self._folder is None else set()
        self._fingerprint, self._folder = fingerprint, folder_of(self._base, fingerprint)
        for other in sorted(others - {self._folder}):
            _warn(f"{other} holds an unfinished training with other settings, which is left alone")
        remove_leftovers(self._folder)
        found = self._newest_whole()
        self._newest = found.course if found is not None else None
        return found

    def require_space(self, needed: int) -> None:
        """Raise `CompressorError` unless so many bytes are free, or taken by these states already."""
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free + sum(file.stat().st_size for file in self._files())
        if needed > free:
            raise CompressorError(
                f"training needs {needed / 1e6:,.2f} MB in {self.folder.parent} for its states and its result, "
                f"and {free / 1e6:,.2f} MB are free; free some, or choose another --out"
            )

    def keep(self, before: Metric, total: int, epochs: tuple[Epoch, ...], run: Callable[[], Mapping[str, Any]]) -> None:
        """Write a state when one is due in a training of ``total`` epochs; ``run`` gives what it goes on with."""
        course = Course(before=before, epochs=epochs)
        if len(epochs) % self._every and course.done < total:
            return
        self._add(course, run)

    def keep_within(
        self,
        before: Metric,
        epochs: tuple[Epoch, ...],
        steps: int,
        run: Callable[[], Mapping[str, Any]],
        *,
        now: bool = False,
    ) -> None:
        """Write a state after ``steps`` of the epoch that follows ``epochs`` when one is due, or ``now``."""
        if now or (self._steps is not None and steps % self._steps == 0):
            self._add(Course(before=before, epochs=epochs, steps=steps), run)

    def _add(self, course: Course, run: Callable[[], Mapping[str, Any]]) -> None:
        header = msgspec.json.encode(course).decode()
        content = {"format": FORMAT, "settings": self._fingerprint, "course": header, "run": dict(run())}
        steps = f"-{course.steps:09}" if course.steps else ""
        _write(self.folder / f"epoch-{len(course.epochs):06}{steps}.state", content)
        self._newest = course
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder, the newest state last: whoever is killed meanwhile finds the training at its end."""
        for old in self._files()[:-1]:
            old.unlink(missing_ok=True)
        for rest in [path for path in self.folder.glob("*") if path not in self._files()]:
            remove_folder(rest)
        remove_folder(self.folder)

    def _files(self) -> list[Path]:
        # The one after an epoch comes before those within the next.
        found = [path for path in self.folder.glob("epoch-*.state") if path.is_file()]
        return sorted(found, key=lambda path: path.stem.split("-"))

    def _newest_whole(self) -> State | None:
        for file in reversed(self._files()):
            try:
                return _read(file, self._fingerprint)
            except CheckpointError as error:
                _warn(f"{error}; the training goes on from the state before, or starts again when there is none")
                file.unlink(missing_ok=True)
        return None


def check_every(epochs: int, steps: int | None = None) -> None:
    """Raise `UsageError` when a state cannot be written every so many ``epochs``, or ``steps``."""
    if epochs < 1:
        raise UsageError(f"--checkpoint-every must be at least 1, got {epochs}")
    if steps is not None and steps < 1:
        raise UsageError(f"--checkpoint-steps must be at least 1, got {steps}")


def folder_of(base: Path, fingerprint: str) -> Path:
    """The folder of the states of one training."""
    return base.with_name(f"{base.name}.training-{fingerprint[:12]}")


def folders_of(base: Path) -> Sequence[Path]:
    """The folders of the states of all trainings with that base, whatever their settings."""
    return [path for path in base.parent.glob("*.training-*") if path.name.rpartition(".training-")[0] == base.name]


def remove_states(base: Path) -> None:
    """Delete the states of all trainings with that base."""
    for folder in folders_of(base):
        remove_folder(folder)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(hashlib.sha256(buffer.getbuffer()).digest())
        file.write(buffer.getbuffer())


def _read(path: Path, fingerprint: str) -> State:
    """The state in ``path``; `CheckpointError` when it is damaged, `UsageError` when its settings are others."""
    content = read_bytes(path, kind=CheckpointError)
    digest, body = content[:DIGEST_BYTES], memoryview(content)[DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise CheckpointError(f"{path} is damaged")
    try:
        plain = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        belongs, header, run = (plain["format"], plain["settings"]), plain["course"], dict(plain["run"])
        course = msgspec.json.decode(header, type=Course)
    except Exception as error:  # torch and the codec raise many kinds, in words that advise to trust the file
        raise CheckpointError(f"{path} is damaged: it is no state of a training") from error
    if belongs != (FORMAT, fingerprint):
        raise UsageError(f"{path} belongs to a training with other settings; move it away to start this one")
    return State(course, run)


def _warn(text: str) -> None:
    warnings.warn(text, CompressorWarning, stacklevel=4)
