"""Kills, full disks and races: so many trials of each, from a seed, counted."""

from __future__ import annotations

import collections
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz import disks, kills, races, server
from fuzz.disturbed import COMMANDS, Broken, Lab
from fuzz.processes import made_bases, side_by_side

TRIALS: dict[str, Callable[[Lab, random.Random, str], object]] = {
    "kills": kills.trial,
    "disks": disks.trial,
    "races": races.trial,
}
Ends = collections.Counter[str]


def run(kind: str, processes: int, *, count: int, seed: int, root: Path) -> tuple[Ends, list[str]]:
    """How ``count`` trials ended, in turns over the commands, and what broke.

    Of kills so many trials that ``count`` signals have met a command that was at work.
    """
    made_bases(root / "bases")
    shares = [count // processes + (number < count % processes) for number in range(processes)]
    parts: list[list[object]] = [[kind, share, seed + number, root / f"{kind}{number}", root / "bases"]
                                 for number, share in enumerate(shares) if share]  # fmt: skip
    ends, broken = Ends(), []
    for counted, lines in side_by_side("trials", parts):
        ends.update(counted)
        broken += lines
    return ends, broken


def part(
    kind: str, count: int, seed: int, root: Path, bases: Path, names: Sequence[str] = tuple(COMMANDS)
) -> tuple[Ends, list[str]]:
    """What one of the processes does, once it has imported everything; ``names`` are the commands' in `COMMANDS`."""
    lab, chance = Lab(root, bases), random.Random(seed)
    ends, broken = Ends(), []
    for turn in range(10 * count):
        if sum(ends.values()) >= count:
            break
        name = names[turn % len(names)]
        try:
            found = TRIALS[kind](lab, chance, name)
        except Broken as error:
            broken.append(f"{kind}, {name}: {error}")
            ends[f"{name}: broken"] += 1
            continue
        end = found if isinstance(found, str) else "as undisturbed"
        ends[f"{name}: {end}"] += found if kind == "kills" and isinstance(found, int) else 1
    return ends, broken


if __name__ == "__main__":
    kind, count, seed, root, folder = sys.argv[1:]
    server.warm(Path(folder) / "modules.json")
    print(json.dumps(part(kind, int(count), int(seed), Path(root), Path(folder))))
