"""Signals at random moments, several in a row, also while a command takes up what was interrupted."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import zipfile
from pathlib import Path

from fuzz.disturbed import COMMANDS, Broken, Lab, require_equal, was_done
from fuzz.server import Outcome

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
# The shell's codes of commands that a signal ended in their own words.
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
MOST = 4


def trial(lab: Lab, chance: random.Random, name: str) -> int:
    """Disturb one command until it is left to finish; returns the signals that met it, `Broken` tells what broke."""
    arguments = COMMANDS[name]
    wanted, seconds = lab.reference(arguments)
    folder, met = lab.folder(), 0
    for _ in range(chance.randint(1, MOST)):
        pid = lab.start(arguments, folder)
        time.sleep(chance.uniform(0.01, seconds))
        number = chance.choice(SIGNALS)
        (os.killpg if chance.random() < 0.5 else os.kill)(pid, number)
        outcome = lab.end(pid)
        if was_done(outcome):
            break
        met += outcome.code != 0
        check_end(outcome, number)
        check_whole(folder)
    require_equal(lab.finish(arguments, folder), wanted)
    return met


def check_end(outcome: Outcome, number: signal.Signals) -> None:
    """A command that is asked to stop says so in one line; one that was done already is done."""
    if outcome.code == 0 or (number == signal.SIGKILL and outcome.code == -number):
        return
    lines = [line for line in outcome.stderr.splitlines() if line.strip() and not line.startswith("Warning: ")]
    if outcome.code != CODES.get(number) or len(lines) != 1:
        said = " | ".join(lines)[-300:]
        raise Broken(f"{number.name}: exit {outcome.code}, {len(lines)} lines: {said}")


def check_whole(folder: Path) -> None:
    """No file under its final name is half a file."""
    for path in folder.rglob("*"):
        if path.name.startswith("."):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".pt" and zipfile.ZipFile(path).testzip() is not None:
            raise Broken(f"{path.name} is damaged")
