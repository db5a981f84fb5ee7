"""Does a network become better when its training begins at the next larger one instead of the dense one?

    python benchmarks/warm_starts.py digits_resnet --epochs 6 --max-train 600 --seeds 3

For each seed the targets are gone down twice with equally many epochs: every run from the dense network, and every run
from what the run before it ended with. The dense network is the teacher in both. Prints test accuracies in points.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from materials import ask_for_network, network_and_data

from compressor.checkpoints import load
from compressor.pipeline import RunPlan, run
from compressor.report.headline import final_metric
from compressor.splitting import SplittingConfig
from compressor.training.recipe import Recipe

TARGETS = (0.5, 0.25, 0.12)


def accuracies(args: argparse.Namespace, seed: int, folder: Path, *, warm: bool) -> list[float]:
    """By target, in per cent."""
    network, data = network_and_data(args)
    found, start = [], None
    for target in TARGETS:
        plan = RunPlan(
            recipe=Recipe(epochs=args.epochs, seed=seed),
            penalties=SplittingConfig(target_macs=target),
            max_seconds=0.5,
        )
        out = folder / f"{seed}-{warm}-{target:g}"
        metric = final_metric(run(network, data, plan, out, start=start))
        assert metric is not None
        found.append(100 * metric.value)
        start = load(out / "recovered.pt") if warm else None
    return found


def main() -> None:
    """Compare both ways and print a line for each target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask_for_network(parser)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print(f"{args.model}, {args.epochs} epochs a run, {args.max_train or 'all'} training samples")
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            [accuracies(args, seed, Path(folder), warm=warm) for warm in (False, True)] for seed in range(args.seeds)
        ]
    for place, target in enumerate(TARGETS):
        cold, warm = ([row[which][place] for row in rows] for which in (0, 1))
        gains = [w - c for c, w in zip(cold, warm, strict=True)]
        print(
            f"target {target:g}: dense {', '.join(f'{x:.2f}' for x in cold)}; larger one "
            f"{', '.join(f'{x:.2f}' for x in warm)}; gain {statistics.mean(gains):+.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
