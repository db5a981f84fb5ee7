"""What the training stages of a run take beside plain fine-tuning of the dense network for as many epochs.

    python benchmarks/training_time.py MODEL TARGET_MACS --data folder:cifar10.zip --max-train 10000 --epochs 6

Seconds of the processor, so that other work counts little, with one thread, in turns; asking the dense network for its
outputs, removal and all evaluations are in. A table in Markdown goes to stdout.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from materials import ask_for_network, network_and_data

from compressor.checkpoints import Network
from compressor.data.samples import DataSet
from compressor.groups import find_groups
from compressor.pipeline.plan import RunPlan
from compressor.pipeline.teacher_views import TeacherViews
from compressor.progress import silent
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.stages.recover import recover
from compressor.stages.shrink import shrink
from compressor.training.recipe import Recipe


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


def as_a_run_does(network: Network, data: DataSet, plan: RunPlan) -> None:
    """The stages between the dense network and the recovered one."""
    groups = find_groups(network.model, network.example_input())
    with tempfile.TemporaryDirectory() as folder:
        known = {"count": plan.views, "seed": plan.recipe.seed, "device": plan.recipe.device}
        views = TeacherViews(network, data, Path(folder) / "views", **known).get(silent)
    teacher = {"teacher": network.model, "views": views}
    tuned = fine_tune(network, data, plan.sparse, plan.penalties, groups=groups, **teacher)
    shrunk = shrink(tuned.network, data, align=plan.penalties.align, groups=groups)
    recover(shrunk.network, data, plan.recovery, **teacher)


def main() -> None:
    """Train both ways, in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    ask_for_network(parser)
    parser.add_argument("target", type=float)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--turns", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    network, data = network_and_data(asked)
    recipe = Recipe(epochs=asked.epochs, lr=0.05, batch_size=asked.batch_size)
    plan = RunPlan(penalties=SplittingConfig(target_macs=asked.target), recipe=recipe)
    print("| turn | dense fine-tuning, s | the run's training, s | ratio |\n|---|---|---|---|")
    for turn in range(asked.turns):
        dense = seconds(lambda: fine_tune(network, data, recipe))
        ours = seconds(lambda: as_a_run_does(network, data, plan))
        print(f"| {turn + 1} | {dense:.1f} | {ours:.1f} | {ours / dense:.3f} |", flush=True)


if __name__ == "__main__":
    main()
