"""The folder of a run: which stages are finished, and what they found.

A stage writes its files first, each whole, and its record last; so whatever moment a process is killed at,
a stage either has its record and all its files, or is done again from its own seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from compressor.codec import decode, encode, read_report
from compressor.errors import CompressorError, UsageError
from compressor.files import remove_folder, remove_leftovers, write_bytes
from compressor.locks import FOLDER_LOCK, check_held
from compressor.pipeline.binding import bound, require_bound
from compressor.pipeline.finished import Finished
from compressor.pipeline.plan import FORMAT
from compressor.pipeline.replacing import HIDDEN, NEW, SETTINGS, settle, take_place
from compressor.records.run import RunReport
from compressor.regular_files import read_bytes
from compressor.stages import STAGES

Settings = Mapping[str, Any]
Kind = TypeVar("Kind")
Result = TypeVar("Result")
Work = Callable[[], Finished[Result]]
Skip = Callable[[], None]
AGAIN = "pass --overwrite to start the run again"
# Before formats had numbers.
FIRST_FORMAT = 1
# Of options that older versions resolved to other values when they were not given.
CHANGED_DEFAULTS = {"align", "beta", "strength", "group_penalty"}


@dataclass(frozen=True)
class RunFolder:
    """A run's own folder, or where inside of it the run grows that will replace it; see `open_folder`."""

    place: Path
    path: Path
    settings: Settings

    @property
    def is_new(self) -> bool:
        """Whether no run was begun here."""
        return not holds_run(self.path)

    def begin(self) -> None:
        """Begin the run here, or take it up."""
        if self.is_new:
            write_bytes(self.path / SETTINGS, encode(self.settings))

    def finish(self) -> None:
        """The run is whole: put it in its place."""
        if self.path != self.place:
            take_place(self.place)

    def file(self, name: str) -> Path:
        """The path of one product."""
        return self.path / name

    def stage(self, name: str, kind: type[Finished[Result]], work: Work[Result], on_skip: Skip) -> Finished[Result]:
        """What stage ``name`` found: from its record when it is finished, else from ``work``."""
        record = _record(self.path, name)
        if record.exists():
            finished = self._kept(record, kind)
            on_skip()
            return finished
        check_held()
        finished = bound(work(), name, self.path, self.settings)
        write_bytes(record, encode(finished))
        return finished

    def finished(self) -> list[str]:
        """The names of the stages that are finished."""
        path = self.path if self.path.exists() else self.place
        return [stage.name for stage in STAGES if _record(path, stage.name).exists()]

    def _kept(self, record: Path, kind: type[Finished[Result]]) -> Finished[Result]:
        try:
            finished = _read(record, kind)
            require_bound(finished, record.stem, self.path, self.settings)
        except CompressorError as error:
            again = AGAIN if self.path == self.place else f"remove {self.path} to start the new run again"
            raise CompressorError(f"{error}; {again}") from error
        return finished


def holds_run(path: Path) -> bool:
    """Whether a run was begun in ``path``."""
    return (path / SETTINGS).exists()


def open_folder(path: Path, settings: Settings, *, overwrite: bool) -> RunFolder:
    """Where in ``path`` the run with these ``settings`` is, or will be: `RunFolder.begin` begins it.

    With ``overwrite`` that is beside the run in ``path`` until it is whole, and one that was so begun with the same
    settings is taken up. `UsageError` when the folder holds something else, or a run with other settings or of another
    version and no ``overwrite``. Call it while the folder is held.
    """
    plain = plain_settings(settings)
    settle(path)
    if not holds_run(path) and holds_others(path, SETTINGS):
        raise UsageError(f"{path} exists and does not hold a run; choose another --out")
    if holds_run(path) and not overwrite:
        require_same(path, _read_settings(path), plain)
    if overwrite and not _same_settings(path / NEW, plain):
        remove_folder(path / NEW)
    folder = RunFolder(path, path / NEW if overwrite else path, plain)
    for part in (path, folder.path, folder.path / "stages"):
        remove_leftovers(part)
    return folder


def older_report(path: Path, settings: Settings) -> RunReport | None:
    """The report of a finished run of an older version with the same ``settings``; None when there is no such run.

    `UsageError` when an older version began a run here and did not finish it, or with other settings.
    """
    if not holds_run(path):
        return None
    old = _read_settings(path)
    if _format(old) >= FORMAT:
        return None
    file = path / "report.json"
    if not (file.exists() and all(_record(path, stage.name).exists() for stage in STAGES)):
        raise UsageError(
            f"{path} holds a run begun by an older version; choose another --out, or pass --overwrite to start it again"
        )
    # An option that the older version did not know cannot differ from what it did, and a default may have changed.
    known = old.keys() - CHANGED_DEFAULTS
    mine = plain_settings(settings)
    require_same(path, {key: old[key] for key in known}, {key: mine[key] for key in known & mine.keys()})
    report = read_report(file)
    if not isinstance(report, RunReport):
        raise CompressorError(f"{file} is not the report of a run; pass --overwrite to start the run again")
    return report


def require_same(path: Path, old: Settings, new: Settings, *, what: str = "run") -> None:
    """Raise `UsageError` when the ``what`` in ``path`` was begun with other settings than ``new``."""
    if _format(old) > FORMAT:
        raise UsageError(f"{path} holds a {what} begun by a newer version; upgrade, or choose another --out")
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    changed = [
        f"the {key.removesuffix('_sha256')} differ"
        if key.endswith("_sha256")
        else f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in differing
    ]
    if changed:
        raise UsageError(
            f"{path} holds a {what} with other settings ({'; '.join(changed)}); choose another --out, "
            "or pass --overwrite to start it again"
        )


def _format(settings: Settings) -> int:
    known = settings.get("compressor", FIRST_FORMAT)
    return known if isinstance(known, int) else FIRST_FORMAT


def _record(path: Path, stage: str) -> Path:
    return path / "stages" / f"{stage}.json"


def plain_settings(settings: Settings) -> Settings:
    """As they are read from JSON."""
    plain: Settings = json.loads(json.dumps(settings))
    return plain


def _same_settings(path: Path, plain: Settings) -> bool:
    try:
        return _read_settings(path) == plain
    except CompressorError:
        return False


def _read_settings(path: Path) -> Settings:
    try:
        settings: Settings = _read(path / SETTINGS, dict[str, Any])
    except CompressorError as error:
        raise CompressorError(f"{error}; {AGAIN}") from error
    return settings


def _read(record: Path, kind: type[Kind]) -> Kind:
    try:
        return decode(read_bytes(record), kind, str(record))
    except OSError as error:
        raise CompressorError(f"cannot read {record}: {error.strerror or error}") from error


def holds_others(path: Path, *first: str) -> bool:
    """Whether a folder holds more than what a command leaves that is killed at its very beginning.

    ``first`` are the files that it writes first.
    """
    left = {FOLDER_LOCK, *first[1:], *(f".{name}.lock" for name in first), *HIDDEN}
    parts = [f".{name}.*.part" for name in first]
    return any(file.name not in left and not any(map(file.match, parts)) for file in path.iterdir())
