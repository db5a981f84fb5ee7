"""``PYTHONPATH=tests python -m fuzz files --count 10000``: a campaign; kills, disks, races; replay runs one case."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from fuzz import campaign, cases, server, tables, trials
from fuzz.processes import made_bases
from fuzz.sandbox import Sandbox

COUNTS = {"files": 10_000, "kills": 200, "disks": 9, "races": 50}


def main() -> int:
    """1 when anything happened that must not."""
    options, console = _options(), Console(width=150)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        root = (options.root or Path(temporary)).absolute()
        if options.campaign == "replay":
            return replay(options.case, root)
        if options.campaign == "files":
            return files(options, root, console)
        return disturb(options, root, console)


def files(options: argparse.Namespace, root: Path, console: Console) -> int:
    """Mutated files."""
    keep, began = options.keep.absolute(), time.monotonic()
    count = campaign.run(options.processes, count=options.count, seed=options.seed, root=root, keep=keep)
    tables.show(count, console, time.monotonic() - began)
    if count.failed:
        console.print(
            f"Failing inputs are in {keep}; one again: PYTHONPATH=tests {sys.executable} -m fuzz replay NAME.case.json"
        )
    return int(count.failed)


def disturb(options: argparse.Namespace, root: Path, console: Console) -> int:
    """Kills, full disks or races."""
    kind, began = options.campaign, time.monotonic()
    ends, broken = trials.run(kind, options.processes, count=options.count, seed=options.seed, root=root)
    tables.show_trials(kind.capitalize(), ends, broken, console, time.monotonic() - began)
    return int(bool(broken))


def replay(file: Path, root: Path) -> int:
    """Run one kept case, and print what it does."""
    bases = made_bases(root / "bases")
    server.warm(bases / "modules.json")
    case = cases.read(file)
    verdict, outcome = Sandbox(root / "replay", bases).run(case)
    print(f"compress {' '.join(case.arguments)}\n{outcome.stdout}{outcome.stderr}exit {outcome.code}")
    print(f"{verdict.kind}: {verdict.where}")
    return int(verdict.failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="campaign", required=True)
    for name, count in COUNTS.items():
        command = commands.add_parser(name)
        command.add_argument("--count", type=int, default=count)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--processes", type=int, default=2)
    commands.choices["files"].add_argument(
        "--keep", type=Path, default=Path("results/fuzz"), help="where failing inputs go"
    )
    commands.add_parser("replay").add_argument("case", type=Path, help="a case that was kept, a .case.json file")
    for command in commands.choices.values():
        command.add_argument("--root", type=Path, help="a folder to work in, whose base files are used again")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
