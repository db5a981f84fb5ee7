"""LeNet-5 on MNIST by method paper, with the settings of its authors' code, then by method budget.

Settings of the official code of Bui et al. 2021: Adam, learning rate 1e-3 divided by 10 four times, batches of 100,
lambda 0.1 in every layer, beta 2.5 times 1.25 four times, no augmentation, images in [0, 1]. They train 200 epochs;
fewer are run here, with the drops and the growth of beta at the same shares of the training. Errors are those of the
last epoch, not the best. Method budget trains equally long from the same start, with a cosine instead of the drops,
down to the parameters that are left by the paper method that removes the most channels and still tells digits apart,
and to 0.9 of them.

    python benchmarks/reproduce/lenet.py --mnist DIR --epochs 10 --workers 2

A finished training is kept under --out and not repeated.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from results import Reproduction, command_line, positive, publish
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from compressor import Splitting, shrink
from compressor.architectures.lenet import lenet5
from compressor.costs import count_macs, count_parameters
from compressor.data import load_data
from compressor.data.batches import batches
from compressor.data.samples import DataSet
from compressor.files import write_text
from compressor.splitting import PaperSplitting

BATCH = 100
DROPS = 5
# A network with a larger error, in percent, is broken: every sound one here is below 1.
SOUND = 5.0
PENALTIES: Mapping[str, Mapping[str, Any] | None] = {
    "no penalty": None,
    "SGL (l1)": {"penalty": "l1"},
    "SGL0": {"penalty": "l0"},
    "SGTL1": {"penalty": "transformed-l1"},
    "SGL1-L2": {"penalty": "l1-l2"},
    "group lasso": {"group_penalty": "lasso"},
    "CGES": {"group_penalty": "cges"},
}
EXAMPLE = torch.zeros(2, 1, 28, 28)


@dataclass(frozen=True)
class Job:
    """One training; ``parameters`` is the share that method budget may keep, None for method paper."""

    name: str
    seed: int
    epochs: int
    mnist: str
    parameters: float | None = None

    @property
    def file(self) -> str:
        """The file that keeps its result."""
        method = "paper" if self.parameters is None else "budget"
        return f"{method}-{self.name.replace(' ', '-')}-{self.epochs}-epochs-seed-{self.seed}.json"


def train(model: nn.Module, data: DataSet, job: Job) -> Splitting | PaperSplitting | None:
    """Train in place; the splitting, if there is one, is not projected yet."""
    steps = len(data.train) // BATCH
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    splitting = make_splitting(model, job, steps, len(data.train))
    if splitting is not None:
        splitting.attach(optimizer)
    scheduler: LRScheduler
    if job.parameters is None:
        drops = [steps * job.epochs * drop // DROPS for drop in range(1, DROPS)]
        scheduler = MultiStepLR(optimizer, drops, gamma=0.1)
    else:
        scheduler = CosineAnnealingLR(optimizer, steps * job.epochs)
    shuffle = torch.Generator().manual_seed(job.seed)
    model.train()
    for _ in range(job.epochs):
        for images, labels in batches(
            data.train, batch_size=BATCH, normalization=data.normalization, shuffle=shuffle, drop_last=True
        ):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
            scheduler.step()
    model.eval()
    return splitting


def make_splitting(model: nn.Module, job: Job, steps: int, samples: int) -> Splitting | PaperSplitting | None:
    """The method of the job, on all four layers."""
    if job.parameters is not None:
        return Splitting(model, EXAMPLE, total_steps=steps * job.epochs, target_params=job.parameters, align=1)
    options = PENALTIES[job.name]
    if options is None:
        return None
    return PaperSplitting(
        model,
        EXAMPLE,
        method="paper",
        total_steps=steps * job.epochs,
        epoch_steps=steps,
        samples=samples,
        growth=(1.25, max(1, job.epochs // DROPS)),
        align=1,
        **options,
    )


@torch.no_grad()
def error(model: nn.Module, data: DataSet) -> float:
    """Test error in percent."""
    found = batches(data.test, batch_size=1000, normalization=data.normalization)
    wrong = sum(int((model(images).argmax(1) != labels).sum()) for images, labels in found)
    return 100 * wrong / len(data.test)


def run(job: Job) -> dict[str, Any]:
    """Train, project and remove; every figure of one training, shares and errors in percent."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    data = load_data(f"mnist:{job.mnist}", val_fraction=0.0)
    # Faster convolutions on CPUs; the arithmetic is the same.
    model = lenet5().to(memory_format=torch.channels_last)
    dense = count_macs(model, EXAMPLE), count_parameters(model)
    began = time.monotonic()
    splitting = train(model, data, job)
    figures: dict[str, Any] = {"name": job.name, "seed": job.seed, "seconds": time.monotonic() - began}
    figures["error W"] = error(model, data)
    if splitting is not None:
        for what, found in splitting.sparsity().items():
            figures |= {f"weights {what}": 100 * found.weights, f"neurons {what}": 100 * found.groups}
        splitting.mask()
        figures["error masked"] = error(model, data)
        masked = splitting.sparsity()["W at 1e-05"]
        figures |= {"weights masked": 100 * masked.weights, "neurons masked": 100 * masked.groups}
        projection = splitting.project()
        figures["error projected"] = error(model, data)
        kept, all_ = sum(projection.kept.values()), sum(projection.channels.values())
        figures |= {"channels removed": 100 * (1 - kept / all_), "channels": dict(projection.kept)}
        model = shrink(model, EXAMPLE, align=1)
    figures["error removed"] = error(model, data)
    macs, parameters = count_macs(model, EXAMPLE), count_parameters(model)
    return figures | {"MACs": 100 * macs / dense[0], "parameters": 100 * parameters / dense[1]}


def finished(jobs: Sequence[Job], folder: Path, workers: int) -> list[dict[str, Any]]:
    """The results of all jobs, trained where they are not kept from before."""
    missing = [job for job in jobs if not (folder / job.file).exists()]
    with ProcessPoolExecutor(workers) as pool:
        for job, figures in zip(missing, pool.map(run, missing), strict=True):
            write_text(folder / job.file, json.dumps(figures, indent=1) + "\n")
            print(f"{job.file}: error {figures['error removed']:.2f} %, {figures['seconds']:.0f} s", flush=True)
    return [json.loads((folder / job.file).read_text()) for job in jobs]


def spread(found: Sequence[Mapping[str, Any]], key: str) -> str | None:
    """Mean and sample standard deviation over the seeds."""
    values = [figures[key] for figures in found if key in figures]
    if not values:
        return None
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


COLUMNS = {
    "error of W, %": "error W",
    "weights of W <= 1e-5, %": "weights W at 1e-05",
    "neurons of W, %": "neurons W at 1e-05",
    "zeros of V, %": "weights V",
    "neurons of V, %": "neurons V",
    "error masked by V, %": "error masked",
    "weights masked, %": "weights masked",
    "error after removal, %": "error removed",
    "channels removed, %": "channels removed",
    "parameters, %": "parameters",
    "MACs, %": "MACs",
}


def table(by_name: Mapping[str, Sequence[Mapping[str, Any]]], columns: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row a name."""
    return [
        {"": name, **{title: spread(found, key) for title, key in columns.items()}} for name, found in by_name.items()
    ]


def chart(
    paper: Mapping[str, Sequence[Mapping[str, Any]]], budget: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Figure:
    """Error after removal against the channels removed, of the networks that still work."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, found) in enumerate({**paper, **budget}.items()):
        sound = [figures for figures in found if figures["error removed"] < SOUND]
        xs = [figures.get("channels removed", 0.0) for figures in sound]
        ys = [figures["error removed"] for figures in sound]
        label = name if sound else f"{name}: off the chart, {spread(found, 'error removed')} %"
        axes.scatter(xs, ys, marker="^" if name in budget else "o", color=f"C{number}", alpha=0.8, label=label)
    axes.set(xlabel="channels removed, %", ylabel="test error after removal, %")
    axes.legend(fontsize=8)
    return figure


def main() -> None:
    """Run all trainings and publish their table."""
    parser = command_line("lenet", __doc__, seeds=3)
    parser.add_argument("--mnist", required=True, help="folder with the four idx files")
    parser.add_argument("--epochs", type=positive, default=10)
    parser.add_argument("--workers", type=positive, default=2, help="trainings side by side, one thread each")
    options = parser.parse_args()
    began, folder = time.monotonic(), options.out / "trainings"
    seeds = range(options.seeds)
    jobs = [Job(name, seed, options.epochs, options.mnist) for name in PENALTIES for seed in seeds]
    paper = by_name(finished(jobs, folder, options.workers))
    # A budget of everything: what the cosine alone does to the error.
    rivals = [Job("budget, all", seed, options.epochs, options.mnist, 1.0) for seed in seeds]
    for seed in seeds:
        sound = [found[seed] for found in paper.values() if found[seed]["error removed"] < SOUND]
        most = max(sound, key=lambda figures: figures.get("channels removed", 0))
        # At equal parameters it may remove fewer but more expensive channels, so it is also asked for less.
        for times in (1.0, 0.9):
            name, share = f"budget, {times:g} x {most['name']}", round(times * most["parameters"] / 100, 4)
            rivals.append(Job(name, seed, options.epochs, options.mnist, share))
    budget = by_name(finished(rivals, folder, options.workers))
    tables = {"Method paper, the official code's settings": table(paper, COLUMNS)}
    after = {title: COLUMNS[title] for title in ["error of W, %", *list(COLUMNS)[-4:]]}
    tables["Method budget, down to the parameters of the paper method named"] = table(budget, after)
    settings = {"epochs": options.epochs, "seeds": options.seeds, "batch": BATCH}
    result = Reproduction(name="lenet", settings=settings, tables=tables, wall_s=time.monotonic() - began)
    publish(result, chart(paper, budget), options.out)


def by_name(found: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The results of each method."""
    names = dict.fromkeys(figures["name"] for figures in found)
    return {name: [figures for figures in found if figures["name"] == name] for name in names}


if __name__ == "__main__":
    main()
