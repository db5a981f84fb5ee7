"""How ``--overwrite`` replaces a run: the new one grows hidden inside the folder and moves out of it when it is whole.

Until then the old run is as it was. What is not a run's own stays where it is. Each step is a rename, and what a
process was killed in the midst of is finished by `settle` at the next start: first the old run goes, then the new one
takes its place, so that whoever reads the folder never sees files of both.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from compressor.files import remove_folder
from compressor.stages import REPORTS, STAGES

SETTINGS = "run.json"
# The three states of a new run: it grows; it is whole, and the old one goes; it moves.
NEW, WHOLE, MOVING = ".new", ".whole", ".moving"
HIDDEN = (NEW, WHOLE, MOVING)
# What runs of older versions wrote beside the files of today: the shrunk network, before it was called so.
FORMER = ("small.pt",)


def take_place(path: Path) -> None:
    """Put the run in ``path/.new``, which is whole, in the place of the one in ``path``."""
    (path / NEW).rename(path / WHOLE)
    settle(path)


def settle(path: Path) -> None:
    """Finish what a killed process began to replace in ``path``; nothing where it did not."""
    if (path / WHOLE).exists():
        clear(path)
        (path / WHOLE).rename(path / MOVING)
    if (path / MOVING).exists():
        _move(path / MOVING, path)
        remove_folder(path / MOVING)


def clear(path: Path) -> None:
    """Remove what a run writes, and nothing else."""
    for stage in STAGES:
        (path / "stages" / f"{stage.name}.json").unlink(missing_ok=True)
        for name in stage.files:
            (path / name).unlink(missing_ok=True)
        for states in list(path.glob(f"*{stage.name}.training-*")):
            remove_folder(states)
    for name in (SETTINGS, *REPORTS, *FORMER):
        (path / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (path / "stages").rmdir()


def _move(source: Path, target: Path) -> None:
    """Everything in ``source`` to ``target``, folders into those of the same name; the reports last."""
    target.mkdir(exist_ok=True)
    for part in sorted(source.iterdir(), key=lambda part: part.name in REPORTS):
        if part.is_dir():
            _move(part, target / part.name)
        else:
            part.replace(target / part.name)
