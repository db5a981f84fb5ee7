"""What channels cost that are removed without any training, with and without closed-form least squares behind.

    python benchmarks/without_training.py dense.pt --data folder:photos --targets 0.9 0.8 0.7 0.5 0.3 --json rows.json

prints for each share of the MACs the metric on the test part: of the dense network, with BatchNorm re-estimated alone,
and with the layers fitted; how often both put a sample into the same class; and the minutes that it took. --saliency
chooses the channels by another registered one, without labels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from materials import ask_for_network, network_and_data

from compressor.checkpoints import Network
from compressor.data.samples import DataSet
from compressor.files import write_text
from compressor.groups import find_groups
from compressor.splitting import SplittingConfig
from compressor.stages.prune import SALIENCY, SAMPLES, prune

COLUMNS = "MACs asked | MACs | BatchNorm alone | least squares | same class | minutes"


def rows(network: Network, data: DataSet, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row for each target."""
    groups = find_groups(network.model, network.example_input())
    for target in options.targets:
        begun = time.monotonic()
        config = SplittingConfig(target_macs=target, align=options.align)
        record = prune(
            network, data, config, samples=options.samples, seed=options.seed, saliency=options.saliency, groups=groups
        ).record
        yield {
            "target": target,
            "macs": record.macs[1] / record.macs[0],
            "dense": record.dense.value,
            "removed": record.removed.metric.value,
            "fitted": record.fitted.metric.value,
            "agreement": record.fitted.agreement,
            "minutes": (time.monotonic() - begun) / 60,
            "layers_left": len(record.left),
        }


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask_for_network(parser)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.9, 0.8, 0.7, 0.5, 0.3])
    parser.add_argument("--align", default="auto")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--saliency", default=SALIENCY)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    network, data = network_and_data(options)
    found: list[dict[str, Any]] = []
    for row in rows(network, data, options):
        if not found:
            print(f"dense: {100 * row['dense']:.2f} %\n{COLUMNS}")
        found.append(row)
        shares = [f"{100 * row[key]:.2f} %" for key in ("macs", "removed", "fitted", "agreement")]
        print(" | ".join([f"{row['target']:g}", *shares, f"{row['minutes']:.1f}"]), flush=True)
        if options.json is not None:
            write_text(options.json, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
