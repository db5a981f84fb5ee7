"""Regular against shaky text: RVSM empties most of the one large layer, with l0 and with transformed-l1.

The setting is that of Xue & Xin, arXiv 1902.07419: three convolutions, each with max-pooling, then one fully connected
layer that holds most weights and alone is penalised. Before every step of SGD W <- W - lr beta (W - V), with V the
prox of W; at each epoch's end V replaces W, so the trained network is V. Their images, sizes and settings are not
public: data set and network are ours.

Beside it, from the same random start: no penalty at all, and of that network's large layer the smallest weights set
to zero, as many as RVSM did, at once and without further training; then also trained on around those zeros.

    python benchmarks/reproduce/curves.py
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from results import Reproduction, command_line, positive, publish
from torch import nn

from compressor.architectures.curves_cnn import CurvesCNN, curves_cnn
from compressor.data import load_data
from compressor.data.samples import DataSet
from compressor.splitting import PaperSplitting
from compressor.training import train
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe

NAME = "curves"
STRENGTHS = {"l0": 5e-4, "transformed-l1": 1.5e-3}  # lambda; a = 1
BETA = 1.0
EPOCHS = 20
RATE = 0.01
MORE_EPOCHS, MORE_RATE = 5, 0.005  # of the pruned network
SHARES = (0.5, 0.6, 0.7, 0.8, 0.86, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
ACCURACY, ZEROS = 99.0, 86.0  # the claim of the abstract, in percent

Run = Mapping[str, Any]


def recipe(epochs: int, rate: float, seed: int) -> Recipe:
    """Nesterov SGD in batches of 64, warm-up and half a cosine, no weight decay."""
    return Recipe(epochs=epochs, lr=rate, weight_decay=0.0, device="cpu", seed=seed)


def trained(data: DataSet, seed: int, epochs: int, penalty: str | None) -> CurvesCNN:
    """A network from random weights; with a penalty its large layer is V."""
    torch.manual_seed(seed)
    model, how = curves_cnn(), recipe(epochs, RATE, seed)
    splitting = None
    if penalty is not None:
        steps = how.steps(len(data.train))
        splitting = PaperSplitting(
            model,
            torch.zeros(2, *data.input_shape),
            method="rvsm",
            penalty=penalty,
            strength=STRENGTHS[penalty],
            beta=BETA,
            layers=("fc",),
            total_steps=steps,
            epoch_steps=steps // epochs,
        )
    train(model, data, how, normalization=data.normalization, splitting=splitting)
    return model


@torch.no_grad()
def pruned(model: CurvesCNN, count: int) -> CurvesCNN:
    """A copy in which the ``count`` smallest weights of the large layer are zero."""
    model = copy.deepcopy(model)
    weights = model.fc.weight
    weights.view(-1)[weights.abs().flatten().argsort()[:count]] = 0.0
    return model


def zeros(model: CurvesCNN) -> int:
    """Exact zeros among the weights of the large layer."""
    return int((model.fc.weight == 0).sum())


def measured(name: str, model: CurvesCNN, data: DataSet) -> dict[str, Any]:
    """Accuracy on the test part and zeros of the large layer, in percent."""
    return {"name": name, "zeros": 100 * zeros(model) / model.fc.weight.numel(), "accuracy": accuracy(model, data)}


def accuracy(model: nn.Module, data: DataSet) -> float:
    """In percent, on the test part."""
    return 100 * model_accuracy(model, data.test, data.normalization).value


def run(seed: int, *, epochs: int) -> dict[str, Any]:
    """Everything of one seed: a row for each network, and the accuracy of one-shot pruning over the share of zeros."""
    torch.set_num_threads(1)
    data = load_data("curves")
    dense = trained(data, seed, epochs, None)
    rows = [measured("no penalty", dense, data)]
    for penalty in STRENGTHS:
        sparse = trained(data, seed, epochs, penalty)
        rows.append(measured(f"RVSM, {penalty}", sparse, data))
        small = pruned(dense, zeros(sparse))
        rows.append(measured(f"magnitude, as many zeros as {penalty}", small, data))
        more = recipe(max(1, epochs * MORE_EPOCHS // EPOCHS), MORE_RATE, seed)
        train(small, data, more, normalization=data.normalization)
        rows.append(measured(f"the same, trained {more.epochs} more epochs", small, data))
    size = dense.fc.weight.numel()
    return {"rows": rows, "one-shot": [accuracy(pruned(dense, round(share * size)), data) for share in SHARES]}


def table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a method: mean, smallest and largest over the seeds, and how often the claim held."""
    rows = []
    for found in zip(*(one["rows"] for one in runs), strict=True):
        held = sum(row["accuracy"] > ACCURACY and row["zeros"] > ZEROS for row in found)
        accuracies, shares = ([row[key] for row in found] for key in ("accuracy", "zeros"))
        rows.append(
            {
                "": found[0]["name"],
                "test accuracy, %": statistics.mean(accuracies),
                "min": min(accuracies),
                "max": max(accuracies),
                "zeros of fc, %": statistics.mean(shares),
                "min ": min(shares),
                "max ": max(shares),
                f"> {ACCURACY:g} and > {ZEROS:g}": f"{held}/{len(found)}",
            }
        )
    return rows


def chart(runs: Sequence[Run]) -> Figure:
    """Accuracy over zeros: one point a run for RVSM, one line a seed for one-shot pruning."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, one in enumerate(runs):
        label = "magnitude, not trained further" if number == 0 else None
        axes.plot([100 * share for share in SHARES], one["one-shot"], color="0.6", linewidth=1, label=label)
    for number, penalty in enumerate(STRENGTHS):
        points = [row for one in runs for row in one["rows"] if row["name"] == f"RVSM, {penalty}"]
        xs, ys = ([row[key] for row in points] for key in ("zeros", "accuracy"))
        axes.scatter(xs, ys, color=f"C{number}", zorder=3, label=f"RVSM, {penalty}")
    axes.axhline(ACCURACY, color="black", linewidth=0.5)
    axes.axvline(ZEROS, color="black", linewidth=0.5)
    axes.set(xlabel="exact zeros of the fully connected layer, %", ylabel="test accuracy, %", ylim=(90, 100))
    axes.legend(loc="lower left")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Train with every seed and publish the table."""
    parser = command_line(NAME, __doc__, seeds=5)
    parser.add_argument("--epochs", type=positive, default=EPOCHS)
    parser.add_argument("--workers", type=positive, default=1, help="seeds side by side, one thread each")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with ProcessPoolExecutor(options.workers) as pool:
        runs = list(pool.map(partial(run, epochs=options.epochs), range(options.seeds)))
    settings = {"epochs": options.epochs, "seeds": options.seeds, "rate": RATE, "beta": BETA, "strength": STRENGTHS}
    tables = {"Regular against shaky text": table(runs)}
    result = Reproduction(name=NAME, settings=settings, tables=tables, wall_s=time.monotonic() - began)
    publish(result, chart(runs), options.out)


if __name__ == "__main__":
    main()
