"""Which saliency chooses best: accuracy after a removal in one shot, without training and with some.

    python benchmarks/saliencies.py MODEL TARGET_MACS --data folder:cifar10-jpg-train.zip --max-train 10000 --epochs 6

``--epochs 0`` trains nothing. The dense network is the teacher, as in ``compress run``. A table in Markdown goes to
stdout.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator

import torch
from materials import ask_for_network, network_and_data
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.alignment import Alignment
from compressor.channels import branches, ties
from compressor.checkpoints import Network
from compressor.costs import cost_model
from compressor.data.batches import batches
from compressor.data.samples import DataSet
from compressor.errors import UsageError
from compressor.groups import find_groups, zero
from compressor.saliency import SALIENCIES, saliency
from compressor.saliency.base import Saliency
from compressor.shrinking import remove_zero_channels
from compressor.splitting.budget import Budget
from compressor.splitting.selection import scores
from compressor.training import train
from compressor.training.batchnorm import reestimate_on
from compressor.training.calibration import sample_losses
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe

IMAGES, BATCH = 2000, 128


def batch_losses(model: nn.Module, network: Network, data: DataSet, seed: int) -> Iterator[Tensor]:
    """Losses of batches, with their graphs, in evaluation mode."""
    shuffle = torch.Generator().manual_seed(seed)
    known = {"normalization": network.metadata.normalization, "shuffle": shuffle}
    for number, (images, labels) in enumerate(batches(data.train, batch_size=BATCH, **known)):
        if number * BATCH >= IMAGES:
            return
        yield F.cross_entropy(model(images), labels)


def learned(found: Saliency, network: Network, data: DataSet, seed: int) -> Saliency:
    """``found`` after it has seen what it learns from."""
    if found.observes:
        found.learn(batch_losses(found.model, network, data, seed))
    if found.calibrated:
        found.learn(sample_losses(found.model, data, network.metadata.normalization, seed=seed))
    return found


def removed(network: Network, data: DataSet, name: str, target: float, seed: int) -> nn.Module:
    """The network with the channels that the saliency keeps, and new statistics."""
    model, example = copy.deepcopy(network.model), network.example_input()
    groups = [group for group in find_groups(model, example) if group.prunable]
    cost = cost_model(model, example, groups, "macs")
    worth = scores(learned(saliency(name, model, groups, seed=seed), network, data, seed), cost)
    budget = Budget([cost], Alignment.parse("auto"), ties(groups), tuple(branches(groups).values()))
    for group, values, kept in zip(groups, worth, budget.allocate(worth, [target]).kept, strict=True):
        zero(model, group, values.argsort(descending=True)[int(kept) :])
    small = remove_zero_channels(model, example, groups=groups).model
    reestimate_on(small, data, network.metadata.normalization, seed)
    return small


def main() -> None:
    """Remove, train, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    ask_for_network(parser)
    parser.add_argument("target", type=float)
    parser.add_argument("--saliencies", default=",".join(SALIENCIES))
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    network, data = network_and_data(asked)
    normalization = network.metadata.normalization
    print("| saliency | no training | after training |\n|---|---|---|")
    for name in asked.saliencies.split(","):
        try:
            small = removed(network, data, name, asked.target, asked.seed)
        except UsageError as error:
            print(f"| {name} | {error} | |")
            continue
        before, after = model_accuracy(small, data.test, normalization).value, ""
        if asked.epochs:
            recipe = Recipe(epochs=asked.epochs, lr=asked.lr, batch_size=BATCH, seed=asked.seed)
            train(small, data, recipe, normalization=normalization, teacher=copy.deepcopy(network.model))
            after = f"{100 * model_accuracy(small, data.test, normalization).value:.2f} %"
        print(f"| {name} | {100 * before:.2f} % | {after} |", flush=True)


if __name__ == "__main__":
    main()
