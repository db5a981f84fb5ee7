"""What a case did, from its outcome and from what is where afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.server import RAISED, Outcome

SUCCESS, CLEAN = "success", "clean error"
# The worst first: a case is what stands first here of all that it did.
FAILURES = (
    "code run",
    "written outside",
    "time-out",
    "memory",
    "killed",
    "traceback",
    "no error line",
    "control characters",
    "leftovers",
    "orphans",
)
CLASSES = (SUCCESS, CLEAN, *FAILURES)
# What steers a terminal: C0 but for tab and newline, DEL, C1, and what turns the direction of text.
STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Verdict:
    """A class of `CLASSES`, and where it came from; two failures with the same of both are one."""

    kind: str
    where: str = ""

    @property
    def failed(self) -> bool:
        """Whether anything but a success or a clean error happened."""
        return self.kind in FAILURES


class Surroundings:
    """Everything that a case must leave as it is."""

    def __init__(self, *places: Path) -> None:
        self._places = places
        self._before = dict(self._seen())

    def changes(self) -> list[str]:
        """What was made, changed or removed since the last time, as paths."""
        now, before = dict(self._seen()), self._before
        self._before = now
        return sorted(path for path in {*now, *before} if now.get(path) != before.get(path))

    def _seen(self) -> Iterator[tuple[str, tuple[int, int]]]:
        for place in self._places:
            for path in place.rglob("*"):
                state = path.lstat()
                yield str(path), (state.st_mode, 0 if path.is_dir() else state.st_mtime_ns)


def verdict(outcome: Outcome, *, canary: Path, changes: list[str], folder: Path) -> Verdict:
    """The worst thing that happened."""
    if canary.exists():
        return Verdict("code run")
    if changes:
        return Verdict("written outside", re.sub(r"\d+", "N", changes[0].rpartition("/")[2]))
    if outcome.limit is not None:
        return Verdict("time-out" if outcome.limit == "time" else "memory")
    if outcome.code < 0:
        return Verdict("killed", f"signal {-outcome.code}")
    if outcome.code == RAISED or "Traceback (most recent call last)" in outcome.stderr:
        return Verdict("traceback", place(outcome.stderr))
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("Error: ")]
    if len(errors) != (outcome.code != 0) or outcome.code not in (0, 1, 2):
        return Verdict("no error line", f"exit {outcome.code}, {len(errors)} error lines")
    if found := STEERING.search(outcome.stdout + outcome.stderr):
        return Verdict("control characters", repr(found[0]))
    if left := list(folder.rglob("*.part*")):
        return Verdict("leftovers", left[0].suffix)
    if outcome.orphans:
        return Verdict("orphans")
    return Verdict(CLEAN if outcome.code else SUCCESS)


def place(text: str) -> str:
    """The exception of a traceback and the last line of ours in it."""
    frames = re.findall(r'File ".*?/(compressor/[^"]+)", line (\d+), in (\S+)', text)
    last = [line for line in text.strip().splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    named = last[-1].split(":")[0] if last else "?"
    return f"{named} in {frames[-1][0]}:{frames[-1][1]} {frames[-1][2]}" if frames else named
