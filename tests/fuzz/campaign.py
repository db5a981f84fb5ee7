"""Mutated files of every kind, by several processes side by side: counted, with the failures kept small."""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz import server, strategies
from fuzz.cases import Case
from fuzz.kinds import KINDS
from fuzz.processes import made_bases, side_by_side
from fuzz.sandbox import Sandbox
from fuzz.smaller import smallest
from fuzz.verdicts import FAILURES, Verdict

# Of one failure so many cases are kept; only the first is made small.
KEPT = 3
REPORTED = 1000
# To make these smaller would take as long for every attempt.
SLOW = ("time-out", "memory")


@dataclass
class Count:
    """How cases ended, by kind of file and command; which failures there were, by class, place and kind of file."""

    ends: collections.Counter[tuple[str, ...]] = field(default_factory=collections.Counter)
    failures: collections.Counter[tuple[str, ...]] = field(default_factory=collections.Counter)
    slowest: float = 0.0
    peak: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything but successes and clean errors happened."""
        return any(end in FAILURES for *_, end in self.ends)

    def to_plain(self) -> list[Any]:
        """JSON-ready form."""
        tables = [[[*key, number] for key, number in table.items()] for table in (self.ends, self.failures)]
        return [*tables, self.slowest, self.peak]

    def add(self, plain: list[Any]) -> None:
        """Take another process's count in."""
        for table, rows in zip((self.ends, self.failures), plain, strict=False):
            table.update({tuple(key): number for *key, number in rows})
        self.slowest, self.peak = max(self.slowest, plain[2]), max(self.peak, plain[3])


def run(processes: int, *, count: int, seed: int, root: Path, keep: Path) -> Count:
    """``count`` cases below ``root``; failing inputs go to ``keep``."""
    made_bases(root / "bases")
    keep.mkdir(parents=True, exist_ok=True)
    total = Count()
    parts: list[list[object]] = [[number, processes, count, seed, root, keep] for number in range(processes)]
    for answer in side_by_side("campaign", parts):
        total.add(answer)
    return total


def cases(folder: Path, *, count: int, seed: int) -> list[Case]:
    """``count`` cases over all kinds by their shares, mixed; the same for the same ``seed``."""
    shares = sum(kind.share for kind in KINDS.values())
    drawn = [
        case
        for name, kind in KINDS.items()
        for case in strategies.draw(name, folder, count=-(-count * kind.share // shares), seed=seed)
    ]
    random.Random(seed).shuffle(drawn)
    return drawn[:count]


def part(number: int, processes: int, count: int, seed: int, root: Path, keep: Path) -> Count:
    """What one of the processes does."""
    todo = cases(root / "bases", count=count, seed=seed)[number::processes]
    server.warm(root / "bases" / "modules.json")
    return judged(todo, Sandbox(root / f"process{number}", root / "bases"), keep)


def judged(todo: list[Case], sandbox: Sandbox, keep: Path) -> Count:
    """Run every case, one after the other."""
    found = Count()
    for index, case in enumerate(todo):
        if index % REPORTED == 0:
            print(f"{index} of {len(todo)} cases", file=sys.stderr)
        _judge(case, sandbox, keep, found)
    return found


def _judge(case: Case, sandbox: Sandbox, keep: Path, found: Count) -> None:
    verdict, outcome = sandbox.run(case)
    found.ends[case.kind, case.arguments[0], verdict.kind] += 1
    found.slowest, found.peak = max(found.slowest, outcome.seconds), max(found.peak, outcome.peak)
    if verdict.failed:
        key = (verdict.kind, verdict.where, case.kind)
        found.failures[key] += 1
        if found.failures[key] <= KEPT:
            _keep(case, verdict, sandbox, keep, first=found.failures[key] == 1)


def _keep(case: Case, verdict: Verdict, sandbox: Sandbox, keep: Path, *, first: bool) -> None:
    """Write the case, its input and what it printed; the first of its sort as small as it gets."""
    if first and verdict.kind not in SLOW:
        case = smallest(case, lambda other: sandbox.run(other)[0] == verdict)
    verdict, outcome = sandbox.run(case)
    words = f"{verdict.kind} {case.kind} {os.getpid()}".replace(" ", "-")
    name = f"{words}-{len(list(keep.glob(f'{words}-*.txt')))}"
    case.save(keep / f"{name}.case.json")
    source = sandbox.folder / case.file
    if source.is_file():
        shutil.copyfile(source, keep / f"{name}.input{source.suffix}")
    (keep / f"{name}.txt").write_text(
        f"{verdict.kind}: {verdict.where}\ncompress {' '.join(case.arguments)}\n"
        f"exit {outcome.code}, {outcome.seconds:.1f} s, {outcome.peak >> 20} MB\n"
        f"--- stdout\n{outcome.stdout[-2000:]}\n--- stderr\n{outcome.stderr[-6000:]}",
        errors="backslashreplace",
    )


if __name__ == "__main__":
    first, second, third, fourth = map(int, sys.argv[1:5])
    made = part(first, second, third, fourth, Path(sys.argv[5]), Path(sys.argv[6]))
    print(json.dumps(made.to_plain()))
