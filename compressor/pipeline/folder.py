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
from typing import Any

from compressor.errors import CompressorError, UsageError
from compressor.files import remove_leftovers, write_text

Figures = dict[str, Any]
RECORD = "run.json"
STAGES = ("dense", "fine-tune", "shrink", "recover", "export", "benchmark")
PRODUCTS = (
    "dense.pt",
    "sparse.pt",
    "small.pt",
    "recovered.pt",
    "dense.onnx",
    "small.onnx",
    "dense.onnx.data",
    "small.onnx.data",
    "fine-tune.jsonl",
    "recover.jsonl",
    "report.json",
    "report.html",
    "report.md",
)


@dataclass(frozen=True)
class RunFolder:
    """A run's own folder; see `open_folder`."""

    path: Path

    def file(self, name: str) -> Path:
        """The path of one product."""
        return self.path / name

    def stage(self, name: str, work: Callable[[], Figures], on_skip: Callable[[str], None]) -> Figures:
        """The figures of stage ``name``: from its record when it is finished, else from ``work``."""
        record = self._record(name)
        if record.exists():
            on_skip(name)
            return _read(record)
        figures = work()
        write_text(record, json.dumps(figures, indent=1))
        return figures

    def finished(self) -> list[str]:
        """Names of the finished stages, in order."""
        return [name for name in STAGES if self._record(name).exists()]

    def _record(self, name: str) -> Path:
        return self.path / "stages" / f"{name}.json"


def holds_run(path: Path) -> bool:
    """Whether a run was begun in ``path``."""
    return (path / RECORD).exists()


def open_folder(path: Path, settings: Mapping[str, Any], *, overwrite: bool) -> RunFolder:
    """Start a run in ``path``, or take up the one that is there when it has the same ``settings``.

    `UsageError` when the folder holds something else, or a run with other settings and no ``overwrite``.
    """
    plain, record = json.loads(json.dumps(settings)), path / RECORD
    if record.exists():
        if overwrite:
            _clear(path)
        else:
            _require_same(path, _read(record), plain)
    elif path.exists() and (not path.is_dir() or any(map(_foreign, path.iterdir()))):
        raise UsageError(f"{path} exists and holds no run; choose another --out")
    folder = RunFolder(path)
    for part in (path, path / "stages"):
        remove_leftovers(part)
    if overwrite or not record.exists():
        write_text(record, json.dumps(plain, indent=1))
    return folder


def _require_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
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


def _read(record: Path) -> dict[str, Any]:
    try:
        content = json.loads(record.read_text())
    except (OSError, ValueError) as error:
        raise CompressorError(f"{record} is damaged ({error}); pass --overwrite to start the run again") from error
    if not isinstance(content, dict):
        raise CompressorError(f"{record} is no record of a run; choose another --out")
    return content


def _foreign(path: Path) -> bool:
    """Whether a file is not what a run that was killed at its very beginning leaves."""
    return not path.match(f".{RECORD}.*.part")


def _clear(path: Path) -> None:
    """Remove what a run writes, and nothing else; the record stays until the new one takes its place."""
    for name in STAGES:
        (path / "stages" / f"{name}.json").unlink(missing_ok=True)
    for name in PRODUCTS:
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (path / "stages").rmdir()
