"""One network's channel groups, and how long finding them takes.

python benchmarks/one_grouping.py torchvision:resnet18 report.json [--side 64]
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

from compressor import checkpoints
from compressor.groups import ChannelGroup, find_groups


def main() -> None:
    """Find the groups of the network that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("report", type=Path)
    parser.add_argument("--side", type=int)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the libraries' own
    shape = (3, arguments.side, arguments.side) if arguments.side else None
    network = checkpoints.fresh(arguments.network, input_shape=shape)
    example = network.example_input(2)
    start, spent = time.perf_counter(), processor_seconds()
    groups = find_groups(network.model, example)
    report = {
        "input_shape": list(network.metadata.input_shape),
        "wall_s": time.perf_counter() - start,
        "cpu_s": processor_seconds() - spent,
        "groups": [plain(group) for group in groups],
    }
    arguments.report.write_text(json.dumps(report))


def processor_seconds() -> float:
    """What this process has used of all processors, by its own code and the system's."""
    times = os.times()
    return times.user + times.system


def plain(group: ChannelGroup) -> dict[str, Any]:
    """Everything that a group says."""
    members = [[m.module, m.role, m.tensors, m.feeds, m.index.tolist()] for m in group.members]
    return {"name": group.name, "channels": group.channels, "excluded": group.excluded, "members": members}


if __name__ == "__main__":
    main()
