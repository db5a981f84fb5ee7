"""The folder of a run: which stages are finished, and what they found.

A stage writes its files first, each whole, and its record last; so whatever moment a process is killed at,
a stage either has its record and all its files, or is done again from its own seed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from compressor.codec import decode, encode, read_report
from compressor.errors import CompressorError, UsageError
from compressor.files import remove_leftovers, write_bytes
from compressor.pipeline.plan import FORMAT
from compressor.records.run import RunReport
from compressor.stages import REPORTS, STAGES

Settings = Mapping[str, Any]
Kind = TypeVar("Kind")
SETTINGS = "run.json"
# Before formats had numbers.
FIRST_FORMAT = 1
# Of options that older versions resolved to other values when they were not given.
CHANGED_DEFAULTS = {"beta", "strength", "group_penalty"}


@dataclass(frozen=True)
class RunFolder:
    """A run's own folder; see `open_folder`."""

    path: Path

    def file(self, name: str) -> Path:
        """The path of one product."""
        return self.path / name

    def stage(self, name: str, kind: type[Kind], work: Callable[[], Kind], on_skip: Callable[[], None]) -> Kind:
        """What stage ``name`` found: from its record when it is finished, else from ``work``."""
        record = _record(self.path, name)
        if record.exists():
            on_skip()
            return _read(record, kind)
        result = work()
        write_bytes(record, encode(result))
        return result


def holds_run(path: Path) -> bool:
    """Whether a run was begun in ``path``."""
    return (path / SETTINGS).exists()


def open_folder(path: Path, settings: Settings, *, overwrite: bool) -> RunFolder:
    """Start a run in ``path``, or take up the one that is there when it has the same ``settings``.

    `UsageError` when the folder holds something else, or a run with other settings or of another version and no
    ``overwrite``.
    """
    plain, record = json.loads(json.dumps(settings)), path / SETTINGS
    if record.exists():
        if overwrite:
            _clear(path)
        else:
            _require_same(path, _read_settings(path), plain)
    elif path.exists() and (not path.is_dir() or any(map(_foreign, path.iterdir()))):
        raise UsageError(f"{path} exists and does not hold a run; choose another --out")
    for part in (path, path / "stages"):
        remove_leftovers(part)
    if overwrite or not record.exists():
        write_bytes(record, encode(plain))
    return RunFolder(path)


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
    mine = json.loads(json.dumps(settings))
    _require_same(path, {key: old[key] for key in known}, {key: mine[key] for key in known & mine.keys()})
    report = read_report(file)
    if not isinstance(report, RunReport):
        raise CompressorError(f"{file} is not the report of a run; pass --overwrite to start the run again")
    return report


def _require_same(path: Path, old: Settings, new: Settings) -> None:
    if _format(old) > FORMAT:
        raise UsageError(f"{path} holds a run begun by a newer version; upgrade, or choose another --out")
    differing = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
    changed = [
        f"the {key.removesuffix('_sha256')} differ"
        if key.endswith("_sha256")
        else f"{key} was {old.get(key)!r} and is now {new.get(key)!r}"
        for key in differing
    ]
    if changed:
        raise UsageError(
            f"{path} holds a run with other settings ({'; '.join(changed)}); choose another --out, "
            "or pass --overwrite to start it again"
        )


def _format(settings: Settings) -> int:
    known = settings.get("compressor", FIRST_FORMAT)
    return known if isinstance(known, int) else FIRST_FORMAT


def _record(path: Path, stage: str) -> Path:
    return path / "stages" / f"{stage}.json"


def _read_settings(path: Path) -> Settings:
    settings: Settings = _read(path / SETTINGS, dict[str, Any])
    return settings


def _read(record: Path, kind: type[Kind]) -> Kind:
    try:
        return decode(record.read_bytes(), kind, str(record))
    except (OSError, CompressorError) as error:
        raise CompressorError(f"{error}; pass --overwrite to start the run again") from error


def _foreign(path: Path) -> bool:
    """Whether a file is not what a run that was killed at its very beginning leaves."""
    return not path.match(f".{SETTINGS}.*.part")


def _clear(path: Path) -> None:
    """Remove what a run writes, and nothing else; the settings stay until the new ones take their place."""
    for stage in STAGES:
        _record(path, stage.name).unlink(missing_ok=True)
        for name in stage.files:
            (path / name).unlink(missing_ok=True)
    for name in REPORTS:
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (path / "stages").rmdir()
