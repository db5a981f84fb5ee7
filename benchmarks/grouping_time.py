"""How long finding the channel groups takes, and whether another version of the package finds the same.

Every measurement is a fresh process; with --before, the folder of another version, the two take turns. Times are
those of the processor, in one thread. Figures in the reasons of excluded groups may differ, since draws are random.

    python benchmarks/grouping_time.py --before ../old --out grouping.json
    python benchmarks/grouping_time.py timm:res2net50_26w_4s@64 torchvision:swin_t --repeat 5
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any

from architectures import environment, in_a_process

ONE = Path(__file__).with_name("one_grouping.py")
HERE = ONE.parent.parent
NETWORKS = (
    "timm:res2net50_26w_4s@64", "timm:rexnet_100@64", "timm:dpn68@64", "timm:skresnet18@64", "timm:mixnet_s@64",
    "timm:cspresnet50@64", "torchvision:shufflenet_v2_x1_0@64", "torchvision:densenet121@64",
    "torchvision:resnet50@64", "torchvision:vit_b_16@224", "torchvision:swin_t@224", "torchvision:maxvit_t@224",
)  # fmt: skip


def main() -> None:
    """Measure every network in turn, print the table, write --out."""
    arguments = _arguments()
    found = []
    for network in arguments.networks or NETWORKS:
        found.append(measured(network, arguments.before, arguments.repeat, arguments.timeout))
        print(_line(found[-1]), file=sys.stderr, flush=True)
        if arguments.out:
            report = {**environment("grouping", arguments.timeout), "networks": found}
            arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print("| network | before | after | times as fast | groups |\n| --- | --- | --- | --- | --- |")
    print("".join(f"{_line(network)}\n" for network in found), end="")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("networks", nargs="*", help="torchvision:NAME or timm:NAME, with @SIDE of the images")
    parser.add_argument("--before", type=Path, help="the folder that holds another version's compressor/")
    parser.add_argument("--repeat", type=int, default=3, help="how often (default 3)")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one measurement (default 900)")
    parser.add_argument("--out", type=Path, help="JSON file, written after every network")
    return parser.parse_args()


def measured(network: str, before: Path | None, repeat: int, timeout: float) -> dict[str, Any]:
    """Processor seconds of each version, and whether their groups are the same."""
    versions = {"before": before, "after": HERE} if before is not None else {"after": HERE}
    seconds: dict[str, list[float]] = {name: [] for name in versions}
    groups: dict[str, list[Any]] = {}
    for _ in range(repeat):
        for name, folder in versions.items():
            report = _report(network, folder, timeout)
            if "failure" in report:
                return {"network": network, "failure": report["failure"]}
            seconds[name].append(report["cpu_s"])
            groups[name] = [without_figures(group) for group in report["groups"]]
    same = None if before is None else groups["before"] == groups["after"]
    return {"network": network, "seconds": seconds, "groups": len(groups["after"]), "same": same}


def _report(network: str, folder: Path, timeout: float) -> dict[str, Any]:
    ref, _, side = network.partition("@")
    paths = [str(folder.resolve()), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    return in_a_process([str(ONE), *(["--side", side] if side else []), ref], timeout, environment)


def without_figures(group: dict[str, Any]) -> dict[str, Any]:
    """The group with no more of its reason than does not depend on which channels were drawn."""
    reason = re.sub(r"(breaks the network|changes the output).*", r"\1", group["excluded"] or "")
    return {**group, "excluded": reason}


def _line(network: dict[str, Any]) -> str:
    if "failure" in network:
        return f"| {network['network']} | - | - | - | {network['failure']} |"
    before, after = (network["seconds"].get(name) for name in ("before", "after"))
    ratios = [old / new for old, new in zip(before, after, strict=True)] if before else []
    same = {None: "", True: ", the same", False: ", others"}[network["same"]]
    cells = (_spread(before, "s"), _spread(after, "s"), _spread(ratios, ""), f"{network['groups']}{same}")
    return f"| {network['network']} | {' | '.join(cells)} |"


def _spread(values: list[float] | None, unit: str) -> str:
    """The median, and the least and the most of several."""
    if not values:
        return "-"
    unit = f" {unit}" if unit else ""
    return f"{median(values):.1f}{unit} ({min(values):.1f}–{max(values):.1f})"


if __name__ == "__main__":
    main()
