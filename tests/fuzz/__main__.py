"""``python -m tests.fuzz --cases 10000 --seed 0``: the campaign; ``--replay FILE``: one case again."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from . import campaign, cases, server
from .sandbox import Sandbox


def main() -> int:
    """1 when anything but successes and clean errors happened."""
    options = _options()
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        root = options.root or Path(temporary)
        if options.replay:
            return replay(options.replay, root)
        began = time.monotonic()
        count = campaign.side_by_side(options.processes, count=options.cases, seed=options.seed, root=root, keep=options.keep)
        campaign.show(count, console, time.monotonic() - began)
    if campaign.failed(count):
        console.print(f"Failing inputs: {options.keep}; again with: {sys.executable} -m {__package__} --replay FILE.json")
        return 1
    return 0


def replay(file: Path, root: Path) -> int:
    """Run one kept case, and print what it does."""
    bases = campaign.made_bases(root / "bases")
    server.warm(bases / "modules.json")
    case = cases.read(file)
    verdict, outcome = Sandbox(root / "replay", bases).run(case)
    print(f"compress {' '.join(case.arguments)}\n{outcome.stdout}{outcome.stderr}exit {outcome.code}\n{verdict}")
    return int(verdict.failed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("results/fuzz"), help="where failing inputs go")
    parser.add_argument("--root", type=Path, help="a folder whose bases are used again; by default a temporary one")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a case that was kept, alone")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
