"""Two commands at once on one folder: one after the other or one alone, never a mix of both."""

from __future__ import annotations

import random
import time

from fuzz.disturbed import COMMANDS, Broken, Lab, require_equal, result
from fuzz.server import Outcome

SEEDS = ("0", "1")


def trial(lab: Lab, chance: random.Random, name: str) -> str:
    """Start two of them a random time apart; returns how it ended, `Broken` tells what broke."""
    seeds = [chance.choice(SEEDS) for _ in range(2)]
    plain = [(*COMMANDS[name], "--seed", seed) for seed in seeds]
    references = [lab.reference(arguments) for arguments in plain]
    seconds = max(taken for _, taken in references)
    commands = [(*arguments, *(("--overwrite",) if chance.random() < 0.5 else ())) for arguments in plain]
    folder, apart = lab.folder(), chance.uniform(0, 1.2 * seconds) if chance.random() < 0.7 else 0.0
    first = lab.start(commands[0], folder, "first")
    time.sleep(apart)
    second = lab.start(commands[1], folder, "second")
    outcomes = [lab.end(first, "first"), lab.end(second, "second")]
    where = f"seeds {seeds}, {apart:.2f} s apart, {[command[-1] for command in commands]}"
    won = [index for index, outcome in enumerate(outcomes) if _done(outcome, where)]
    if not won:
        raise Broken(f"nobody finished; {where}: {outcomes[0].stderr[-300:]} {outcomes[1].stderr[-300:]}")
    _require_one(lab, folder, [references[index][0] for index in won], where)
    return "both, one after the other" if len(won) == 2 else "one alone"


def _require_one(lab: Lab, folder: object, wanted: list, where: str) -> None:
    """What is there is what one of the winners makes undisturbed."""
    found, last = result(folder), None
    for one in wanted:
        try:
            return require_equal(found, one)
        except Broken as broken:
            last = broken
    raise Broken(f"{where}: {last}")


def _done(outcome: Outcome, where: str) -> bool:
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("Error: ")]
    if outcome.code not in (0, 1, 2) or len(errors) != (outcome.code != 0):
        raise Broken(f"{where}: exit {outcome.code}: {outcome.stderr.strip()[-500:]}")
    return outcome.code == 0
