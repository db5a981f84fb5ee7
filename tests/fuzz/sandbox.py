"""Where cases run: a folder of their own, a home and a place for temporary files that must stay as they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from fuzz import cases, server
from fuzz.bases import PAYLOAD
from fuzz.cases import Case
from fuzz.server import Outcome
from fuzz.verdicts import Surroundings, Verdict, verdict


class Sandbox:
    """Runs cases one after the other below ``root``; ``bases`` are the files that they are made of."""

    def __init__(self, root: Path, bases: Path) -> None:
        self.root, self.bases = root, bases
        self.folder, self.canary = root / "case", root / "canary"
        self._places = [root / name for name in ("home", "tmp", "outside")]
        for place in self._places:
            place.mkdir(parents=True, exist_ok=True)
        (root / "home" / "cache").mkdir(exist_ok=True)
        outside = self._places[-1]
        (outside / "payload.py").write_text(PAYLOAD)
        np.savez(outside / "secret.npz", x=np.zeros((8, 8, 8), np.uint8), y=np.arange(8) % 4)
        if not (outside / "fifo").exists():
            os.mkfifo(outside / "fifo")
        self._surroundings = Surroundings(*self._places, bases)

    def run(self, case: Case, *, seconds: float = server.SECONDS) -> tuple[Verdict, Outcome]:
        """Make the case's files, run its command, and judge."""
        _clear(self.folder)
        self.folder.mkdir()
        self.canary.unlink(missing_ok=True)
        cases.make(case, self.bases, self.folder, self._places[-1])
        outcome = server.run(case.arguments, self.folder, self.root / "log", self._environment(), seconds=seconds)
        judged = verdict(outcome, canary=self.canary, changes=self._changes(outcome), folder=self.folder)
        return judged, outcome

    def _changes(self, outcome: Outcome) -> list[str]:
        """What is no longer as it was; where a child was killed, its temporary files are no complaint."""
        temporary, changes = self._places[1], self._surroundings.changes()
        if left := list(temporary.iterdir()):
            for path in left:
                _clear(path)
            self._surroundings.changes()
        ended = outcome.limit is not None or outcome.code < 0
        return [path for path in changes if not (ended and path.startswith(str(temporary)))]

    def _environment(self) -> dict[str, str]:
        home, temporary, _ = map(str, self._places)
        return {
            "HOME": home,
            "TMPDIR": temporary,
            "XDG_CACHE_HOME": f"{home}/cache",
            "FUZZ_CANARY": str(self.canary),
            "COLUMNS": "120",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "OMP_NUM_THREADS": "1",
        }


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
