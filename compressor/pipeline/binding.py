"""What binds a stage's record to its run: a hash of the run's settings, and those of the files that the stage wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from compressor.errors import CompressorError
from compressor.files import sha256
from compressor.pipeline.finished import Finished
from compressor.stages import GROUPS, STAGES

Result = TypeVar("Result")
# Channel groups have hashes of their own, and may be found again.
BOUND = {stage.name: set(stage.files) - {GROUPS} for stage in STAGES}


def bound(finished: Finished[Result], stage: str, folder: Path, settings: Mapping[str, Any]) -> Finished[Result]:
    """The record of ``stage`` with the hashes of ``settings`` and of its files in ``folder``."""
    files = {name: sha256(folder / name) for name in sorted(BOUND[stage]) if (folder / name).exists()}
    return replace(finished, settings=_fingerprint(settings), files=files)


def require_bound(finished: Finished[Any], stage: str, folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise `CompressorError` when the record of ``stage``, or a file of it in ``folder``, is not of this run.

    A record of a version that knew no hashes is taken for what it is. A file that was deleted is missed by the stage
    that needs it, if there is one.
    """
    if finished.settings not in {"", _fingerprint(settings)}:
        raise CompressorError(f"the record of stage {stage} in {folder} belongs to a run with other settings")
    for name, known in finished.files.items():
        file = folder / name
        if name in BOUND[stage] and file.exists() and sha256(file) != known:
            raise CompressorError(f"{file} is not the file that stage {stage} wrote")


def _fingerprint(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
