"""A campaign: cases of every kind by several processes side by side, counted, with the failures kept small."""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from . import bases, server, strategies
from .cases import Case
from .kinds import KINDS
from .sandbox import Sandbox
from .smaller import smallest
from .verdicts import CLASSES, FAILURES, Verdict, strange_lines

# Of one failure so many cases are kept; only the first is made small.
KEPT = 3


@dataclass
class Count:
    """How cases ended, by kind and command, and which failures there were."""

    ends: collections.Counter[tuple[str, str, str]] = field(default_factory=collections.Counter)
    failures: dict[tuple[str, str, str], int] = field(default_factory=dict)
    slowest: float = 0.0
    peak: int = 0
    strange: collections.Counter[str] = field(default_factory=collections.Counter)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "ends": [[*key, number] for key, number in self.ends.items()],
            "failures": [[*key, number] for key, number in self.failures.items()],
            "slowest": self.slowest,
            "peak": self.peak,
            "strange": dict(self.strange),
        }

    def add(self, plain: dict[str, Any]) -> None:
        """Take another process's count in."""
        for *key, number in plain["ends"]:
            self.ends[key[0], key[1], key[2]] += number
        for *key, number in plain["failures"]:
            self.failures[key[0], key[1], key[2]] = self.failures.get((key[0], key[1], key[2]), 0) + number
        self.slowest, self.peak = max(self.slowest, plain["slowest"]), max(self.peak, plain["peak"])
        self.strange.update(plain["strange"])


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


def work(todo: list[Case], sandbox: Sandbox, keep: Path) -> Count:
    """Run ``todo``, keeping what fails in ``keep``."""
    count = Count()
    for case in todo:
        verdict, outcome = sandbox.run(case)
        count.ends[case.kind, case.arguments[0], verdict.kind] += 1
        count.slowest, count.peak = max(count.slowest, outcome.seconds), max(count.peak, outcome.peak)
        count.strange.update(line[:60] for line in strange_lines(outcome)[:1] if not verdict.failed)
        if verdict.failed:
            key = (verdict.kind, verdict.where, case.kind)
            count.failures[key] = count.failures.get(key, 0) + 1
            if count.failures[key] <= KEPT:
                _keep(case, verdict, sandbox, keep, first=count.failures[key] == 1)
    return count


def _keep(case: Case, verdict: Verdict, sandbox: Sandbox, keep: Path, *, first: bool) -> None:
    """Write the case, its input and what it printed; the first of its sort as small as it gets."""
    if first and verdict.kind not in ("time-out", "memory"):
        case = smallest(case, lambda other: sandbox.run(other)[0] == verdict)
    verdict, outcome = sandbox.run(case)
    number = len(list(keep.glob(f"*-{os.getpid()}-*.json")))
    name = f"{verdict.kind.replace(' ', '-')}-{case.kind.replace(' ', '-')}-{os.getpid()}-{number}"
    case.save(keep / f"{name}.json")
    source = sandbox.folder / case.file
    if source.is_file():
        shutil.copyfile(source, keep / f"{name}{source.suffix}")
    (keep / f"{name}.txt").write_text(
        f"{verdict}\ncompress {' '.join(case.arguments)}\nexit {outcome.code}, {outcome.seconds:.1f} s, "
        f"{outcome.peak >> 20} MB\n--- stdout\n{outcome.stdout[-2000:]}\n--- stderr\n{outcome.stderr[-6000:]}",
        errors="backslashreplace",
    )


def made_bases(folder: Path) -> Path:
    """The bases in ``folder``, made there by a process of its own unless they are."""
    if not (folder / "modules.json").exists():
        subprocess.run([sys.executable, "-m", bases.__name__, str(folder)], check=True, env=environment())
    return folder


def environment() -> dict[str, str]:
    """For processes of the campaign: one thread each, and this very package."""
    package = Path(__file__).parents[len(__name__.split(".")) - 1]
    path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": path}


def side_by_side(processes: int, *, count: int, seed: int, root: Path, keep: Path) -> Count:
    """The whole campaign below ``root``."""
    folder = made_bases(root / "bases")
    keep.mkdir(parents=True, exist_ok=True)
    package = __name__.rpartition(".")[0]
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"{package}.campaign", *map(str, (number, processes, count, seed, root, keep))],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        for number in range(processes)
    ]
    total = Count()
    for process in started:
        answer, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"a process of the campaign ended with {process.returncode}")
        total.add(json.loads(answer))
    return total


def share(number: int, processes: int, count: int, seed: int, root: Path, keep: Path) -> Count:
    """What one of the processes does."""
    todo = cases(root / "bases", count=count, seed=seed)[number::processes]
    server.warm(root / "bases" / "modules.json")
    return work(todo, Sandbox(root / f"process{number}", root / "bases"), keep)


def show(count: Count, console: Console, seconds: float) -> None:
    """The table: a row for each kind of file, and one for each sort of failure."""
    columns = [name for name in CLASSES if any(end == name for *_, end in count.ends) or name in ("success", "clean error")]
    table = Table(title="Mutated files")
    table.add_column("kind of file")
    for name in ("cases", *columns):
        table.add_column(name, justify="right")
    for kind in [*KINDS, None]:
        table.add_row(kind or "all", *(str(number) for number in _row(count, kind, columns)))
    console.print(table)
    for (kind, where, file), number in sorted(count.failures.items()):
        console.print(f"{number:>5}  {kind}: {file}: {where}", markup=False)
    total = sum(count.ends.values())
    console.print(f"{total} cases in {seconds:.0f} s; slowest {count.slowest:.1f} s, most memory {count.peak / 2**30:.2f} GiB")


def _row(count: Count, kind: str | None, columns: list[str]) -> Iterator[int]:
    ends = {key: number for key, number in count.ends.items() if kind in (None, key[0])}
    yield sum(ends.values())
    for column in columns:
        yield sum(number for (*_, end), number in ends.items() if end == column)


def failed(count: Count) -> bool:
    """Whether anything but successes and clean errors happened."""
    return any(end in FAILURES for *_, end in count.ends)


if __name__ == "__main__":
    number, processes, cases_, seed = map(int, sys.argv[1:5])
    found = share(number, processes, cases_, seed, Path(sys.argv[5]), Path(sys.argv[6]))
    print(json.dumps(found.to_plain()))
