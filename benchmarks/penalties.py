"""What each penalty on single weights changes in a run, beside a run without any.

    python benchmarks/penalties.py MODEL TARGET_MACS --data mnist:DIR --max-train 10000 --seeds 0 1 2

trains as ``compress run`` does, with the same channels for all penalties of a seed, and prints a table in Markdown: the
metric in the end, the share of zeros among the weights of convolutions and linear layers, and the bytes of the weights
after gzip -6. With --target-zeros every penalty makes as many zeros; without, as many as its default strength makes.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

import torch
from materials import ask_for_network, network_and_data
from torch import nn

from compressor.checkpoints import Network
from compressor.data.samples import DataSet
from compressor.groups import find_groups
from compressor.layer_kinds import MAKERS, matrices
from compressor.penalties import PENALTIES
from compressor.pipeline.plan import RunPlan
from compressor.splitting import SplittingConfig
from compressor.stages.fine_tune import fine_tune
from compressor.stages.recover import recover
from compressor.stages.shrink import shrink
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe
from compressor.training.views import Views, ask, draw_views

LEVEL = 6


def trained(network: Network, data: DataSet, plan: RunPlan, views: Views) -> Network:
    """As a run leaves it."""
    groups = find_groups(network.model, network.example_input())
    tuned = fine_tune(network, data, plan.sparse, plan.penalties, groups=groups, views=views)
    shrunk = shrink(tuned.network, data, align=plan.penalties.align, groups=groups)
    return recover(shrunk.network, data, plan.recovery, views=views).network


def weights(model: nn.Module) -> Iterator[torch.Tensor]:
    """Those of convolutions and linear layers."""
    for module in model.modules():
        if isinstance(module, MAKERS):
            yield from (getattr(module, name).detach() for name in matrices(module))


def compressed(model: nn.Module) -> int:
    """Bytes of all parameters after gzip."""
    parameters = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    return len(gzip.compress(parameters, LEVEL))


def figures(network: Network, data: DataSet, plan: RunPlan) -> tuple[float, float, int]:
    """The accuracy in points, the share of zeros and the bytes of one run."""
    normalization = network.metadata.normalization
    drawn = draw_views(data, plan.views, plan.recipe.seed)
    views = Views(drawn, ask(network.model, data, drawn, normalization))
    model = trained(network, data, plan, views).model
    parts = list(weights(model))
    zeros = sum(int((part == 0).sum()) for part in parts) / sum(part.numel() for part in parts)
    return 100 * model_accuracy(model, data.test, normalization).value, zeros, compressed(model)


def mean(values: Sequence[float]) -> str:
    """With the standard deviation."""
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}"


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask_for_network(parser)
    parser.add_argument("target", type=float)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--penalties", nargs="*", default=["none", *PENALTIES])
    parser.add_argument("--target-zeros", type=float)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    network, data = network_and_data(asked)
    print("| penalty | accuracy | zeros | bytes after gzip | seeds |\n|---|---|---|---|---|")
    for name in asked.penalties:
        zeros = asked.target_zeros if name != "none" else None
        found = []
        for seed in asked.seeds:
            recipe = Recipe(epochs=asked.epochs, lr=asked.lr, batch_size=asked.batch_size, seed=seed, device="cpu")
            penalties = SplittingConfig(target_macs=asked.target, penalty=name, target_zeros=zeros)
            found.append(figures(network, data, RunPlan(recipe=recipe, penalties=penalties)))
        accuracy, share, size = zip(*found, strict=True)
        row = mean(accuracy), f"{100 * fmean(share):.1f} %", f"{fmean(size):,.0f}", str(len(found))
        print(f"| {name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
