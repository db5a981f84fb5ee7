"""A disk that fills up: no file may grow beyond a random number of bytes, in any process and any library."""

from __future__ import annotations

import os
import random
import resource
import signal

from fuzz import server
from fuzz.disturbed import COMMANDS, Broken, Lab, require_equal
from fuzz.server import Outcome

# Far below the smallest file and a little above the largest.
SIZES = (1, 100_000)


def trial(lab: Lab, chance: random.Random, name: str) -> int:
    """Run one command out of space, then with room again; returns the size, `Broken` tells what broke."""
    arguments = COMMANDS[name]
    wanted, _ = lab.reference(arguments)
    low, high = SIZES
    folder, size = lab.folder(), round(low * (high / low) ** chance.random())
    outcome = _limited(lab, arguments, folder, size)
    if outcome.code not in (0, 1):
        raise Broken(f"{size} bytes: exit {outcome.code}: {outcome.stderr.strip()[-500:]}")
    errors = [line for line in outcome.stderr.splitlines() if line.startswith("Error: ")]
    if len(errors) != outcome.code:
        raise Broken(f"{size} bytes: exit {outcome.code}, {len(errors)} error lines: {outcome.stderr.strip()[-500:]}")
    try:
        require_equal(lab.finish(arguments, folder), wanted)
    except Broken as broken:
        raise Broken(f"{size} bytes: {' '.join(errors)} Then: {broken}") from broken
    return size


def _limited(lab: Lab, arguments: tuple[str, ...], folder: object, size: int) -> Outcome:
    """The command's output goes through pipes, which are no files; what is printed fits into their buffers."""
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()

    def work() -> None:
        os.dup2(out_end, 1)
        os.dup2(err_end, 2)
        server.open_streams()
        # Without a handler the signal would end the process; so the write fails, as it does on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        server.compress(arguments)()

    pid = lab.start(arguments, folder, work=work)
    os.close(out_end)
    os.close(err_end)
    outcome = lab.end(pid)
    with open(out) as stdout, open(err) as stderr:  # noqa: PTH123 (they are numbers)
        return Outcome(code=outcome.code, stdout=stdout.read(), stderr=stderr.read(), seconds=0, peak=0)
