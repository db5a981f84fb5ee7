"""A little of every campaign in one process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fuzz import campaign, cases, server, trials
from fuzz.processes import made_bases
from fuzz.sandbox import Sandbox

CASES = 24
TRIALS = {"kills": 2, "disks": 1, "races": 1}
# It takes a tenth of a run's time.
COMMANDS = ("fine-tune",)
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.json"))


def run(root: Path) -> dict[str, Any]:
    """What broke, by campaign; empty lists when nothing did."""
    folder, keep = root / "bases", root / "keep"
    made_bases(folder)
    server.warm(folder / "modules.json")
    keep.mkdir()
    sandbox = Sandbox(root, folder)
    todo = [cases.read(file) for file in REGRESSIONS] + campaign.cases(folder, count=CASES, seed=0)
    count = campaign.judged(todo, sandbox, keep)
    said = {file.name: file.read_text() for file in keep.glob("*.txt")}
    found = {"cases": sum(count.ends.values()), "kinds": sorted({kind for kind, *_ in count.ends}), "files": said}
    return found | {kind: trials.part(kind, most, 0, root / kind, folder, COMMANDS)[1] for kind, most in TRIALS.items()}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
