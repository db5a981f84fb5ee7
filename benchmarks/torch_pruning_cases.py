"""The structures of Torch-Pruning's own tests, pruned by Torch-Pruning and by this project: which results are right?

Half of the channels go; the result is compared in float64 with the same network whose channels are zero instead.
Every tool and network has a process of its own, which is ended after --timeout seconds.

    python benchmarks/torch_pruning_cases.py --out torch_pruning.json
    python benchmarks/torch_pruning_cases.py concat torchvision:resnet18
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from architectures import environment, in_a_process, there
from one_torch_pruning_case import TOOLS
from torch_pruning_list import cases

ONE = Path(__file__).with_name("one_torch_pruning_case.py")
LIBRARY = "torchvision"


def main() -> None:
    """Give every case to both tools, print table and counts, write --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", nargs="*", help="names of cases; all by default")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds for one tool and case (default 300)")
    parser.add_argument("--out", type=Path, help="JSON file, written after every case")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(cases()):
        parser.error(f"no case is called {', '.join(sorted(unknown))}; there are {', '.join(cases())}")
    found: list[dict[str, Any]] = []
    for name in arguments.cases or _runnable():
        tools = {tool: _ended(in_a_process([str(ONE), name, tool], arguments.timeout)) for tool in TOOLS}
        found.append({"case": name, "follows": cases()[name].follows, **tools})
        print(" | ".join(_cells(found[-1])), file=sys.stderr, flush=True)
        if arguments.out:
            made = environment("torch_pruning_cases", arguments.timeout)
            arguments.out.write_text(json.dumps({**made, "cases": found}, indent=2) + "\n")
    print(f"{table(found)}\n{summary(found)}", end="")


def _runnable() -> list[str]:
    """All cases, without torchvision's where it is not installed, which is said."""
    prefix = f"{LIBRARY}:"
    own = [name for name in cases() if not name.startswith(prefix)]
    return own + there(LIBRARY, [name.removeprefix(prefix) for name in cases() if name.startswith(prefix)])


def _ended(found: dict[str, Any]) -> dict[str, Any]:
    """A process that was ended or died gave no answer."""
    return {"verdict": "no answer", "why": found["failure"], **found} if "failure" in found else found


def table(found: Sequence[dict[str, Any]]) -> str:
    """The report as Markdown."""
    heads = (
        "case", "Torch-Pruning's test", "Torch-Pruning", "difference", "MACs left",
        "compressor", "difference", "MACs left",
    )  # fmt: skip
    rows = [heads, ("---",) * len(heads), *(_cells(case) for case in found)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _cells(case: dict[str, Any]) -> tuple[str, ...]:
    def figure(tool: str, name: str, how: str) -> str:
        return format(case[tool][name], how) if name in case[tool] else "-"

    cells = [case["case"], case["follows"]]
    for tool in TOOLS:
        cells += [_words(case[tool]), figure(tool, "difference", ".1e"), figure(tool, "macs", ".0%")]
    return tuple(cell.replace("|", "/") for cell in cells)


def _words(found: dict[str, Any]) -> str:
    """A verdict with what there is to say about it."""
    words = found["verdict"]
    if "why" in found:
        words += f" {found['why']}" if words == "crashes" else f": {found['why']}"
    if "but_for_norms" in found:
        spared = found["but_for_norms"]
        words += f"; without groups that pass a LayerNorm or GroupNorm: {_words(spared)}"
        words += f", {spared['macs']:.0%} of the MACs left" if "macs" in spared else ""
    if words == "nothing removed":
        words += ", and says why" if found["reasons"] else ", silently"
    if "reloaded" in found:
        words += f"; reloaded: {found['reloaded']}"
    return words


def summary(found: Sequence[dict[str, Any]]) -> str:
    """How often each pair of verdicts was given."""
    theirs, ours = TOOLS
    pairs = Counter((case[theirs]["verdict"], case[ours]["verdict"]) for case in found)
    rows = [f"| {one} | {other} | {count} |\n" for (one, other), count in pairs.most_common()]
    return f"| {theirs} | {ours} | cases |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    main()
