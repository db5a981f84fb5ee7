"""What recovery gains by: one setting after the other changed, on the small network of a finished run.

    python benchmarks/recovery.py run RUN RESULTS.jsonl --data folder:cifar10.zip --epochs 4 --before 2
    python benchmarks/recovery.py table RESULTS.jsonl

Settings are compared on the validation part; the test part is shown beside it and chooses nothing. A variant with a
seed that is in RESULTS is not run again. The table holds means over the seeds and differences to the default with the
same seed.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from materials import ask_for_data, data_of
from torch import Tensor, nn
from torch.nn import functional as F

from compressor.checkpoints import Network, load
from compressor.data.samples import DataSet
from compressor.pipeline.plan import VIEWS
from compressor.training import train
from compressor.training.evaluation import model_accuracy
from compressor.training.recipe import Recipe
from compressor.training.views import Views, ask, draw_views

# Of the loss by attention maps (Zagoruyko and Komodakis, "Paying more attention to attention", 2017), in its paper.
ATTENTION = 1000.0


@dataclass(frozen=True)
class Variant:
    """What is changed: the recipe, how the teacher is asked, and what the training starts from."""

    change: Callable[[Recipe], Recipe] = lambda recipe: recipe
    live: bool = False
    features: bool = False
    scratch: bool = False


def changed(**fields: Any) -> Variant:
    """With other values in the recipe."""
    return Variant(lambda recipe: replace(recipe, **fields))


def rate(factor: float) -> Variant:
    """With another learning rate."""
    return Variant(lambda recipe: replace(recipe, lr=factor * recipe.learning_rate))


VARIANTS = {
    "default": Variant(),
    "learning rate x 0.4": rate(0.4),
    "learning rate x 2": rate(2),
    "learning rate x 4": rate(4),
    "step schedule": changed(schedule="step"),
    "own curve, with a rise": changed(before=0),
    "no teacher": changed(teacher_share=0.0),
    "teacher 0.9": changed(teacher_share=0.9),
    "teacher alone": changed(teacher_share=1.0),
    "teacher asked at every step": Variant(live=True),
    "teacher's attention maps too": Variant(live=True, features=True),
    "EMA 0.9": changed(ema=0.9),
    "EMA 0.99": changed(ema=0.99),
    "EMA 0.99, constant rate": changed(ema=0.99, schedule="constant"),
    "from random weights": Variant(scratch=True),
    "from random weights, all epochs": Variant(
        lambda recipe: replace(recipe, epochs=recipe.before + recipe.epochs, before=0), scratch=True
    ),
}


class _WithLoss(torch.autograd.Function):
    """The first argument, whose backward pass descends the second as well."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, loss: Tensor) -> Tensor:
        return outputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], torch.ones((), device=gradients[0].device)


@contextmanager
def attentive(model: nn.Module, teacher: nn.Module) -> Iterator[None]:
    """``model`` learns the attention maps of ``teacher`` too: of the last outputs of each height, which both have."""
    maps: dict[str, dict[str, Tensor]] = {"teacher": {}, "student": {}}

    def note(whose: str, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, given: Any, made: Tensor) -> None:
            if made.ndim == 4 and made.shape[-1] > 1:
                maps[whose][name] = F.normalize(made.square().mean(1).flatten(1))

        return hook

    def ask_first(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if module.training:
            with torch.no_grad():
                teacher.eval()(given[0])

    def add(module: nn.Module, given: Any, made: Tensor) -> Tensor | None:
        if not module.training:
            return None
        stages = {values.shape[1]: name for name, values in maps["teacher"].items() if name in maps["student"]}
        pairs = [(maps["student"][name], maps["teacher"][name]) for name in stages.values()]
        loss = sum((F.mse_loss(mine, theirs) for mine, theirs in pairs), torch.zeros(()))
        return _WithLoss.apply(made, ATTENTION / 2 * loss)

    hooks = [model.register_forward_pre_hook(ask_first), model.register_forward_hook(add)]
    for whose, network in (("teacher", teacher), ("student", model)):
        blocks = [(name, module) for name, module in network.named_modules() if _is_block(module)]
        hooks += [module.register_forward_hook(note(whose, name)) for name, module in blocks]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_block(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d) for part in module.children())


def recovered(
    dense: Network, small: Network, data: DataSet, recipe: Recipe, variant: Variant, views: Views
) -> nn.Module:
    """The small network, trained."""
    model = copy.deepcopy(small.model)
    if variant.scratch:
        torch.manual_seed(recipe.seed)
        for module in model.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    recipe = variant.change(recipe)
    teacher: dict[str, Any] = {"teacher": copy.deepcopy(dense.model)} if variant.live else {"views": views}
    if variant.features:
        with attentive(model, copy.deepcopy(dense.model)):
            train(model, data, recipe, normalization=dense.metadata.normalization, **teacher)
    else:
        train(model, data, recipe, normalization=dense.metadata.normalization, **teacher)
    return model


def run(asked: argparse.Namespace) -> None:
    """What is not there yet."""
    dense, small = (load(asked.folder / name, trust_arch=asked.trust_arch) for name in ("dense.pt", "shrunk.pt"))
    norm, data = dense.metadata.normalization, data_of(dense, asked)
    done = {(row["variant"], row["seed"]) for row in read(asked.results)} if asked.results.exists() else set()
    for seed in asked.seeds:
        drawn = draw_views(data, VIEWS, seed)
        views = Views(drawn, ask(dense.model, data, drawn, norm))
        recipe = Recipe(
            epochs=asked.epochs, before=asked.before, lr=asked.lr, batch_size=asked.batch_size, seed=seed, device="cpu"
        )
        for name in asked.variants or VARIANTS:
            if (name, seed) in done:
                continue
            model = recovered(dense, small, data, recipe, VARIANTS[name], views)
            row = {"variant": name, "seed": seed, "recipe": dataclasses.asdict(VARIANTS[name].change(recipe))}
            for part in ("val", "test"):
                row[part] = round(model_accuracy(model, getattr(data, part), norm).value, 5)
            with asked.results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{name}, seed {seed}: {100 * row['val']:.2f} {100 * row['test']:.2f}", flush=True)


def read(results: Path) -> list[dict[str, Any]]:
    """The rows of finished variants."""
    return [json.loads(line) for line in results.read_text().splitlines()]


def table(asked: argparse.Namespace) -> None:
    """Means over seeds in Markdown."""
    rows = sorted(read(asked.results), key=lambda row: list(VARIANTS).index(row["variant"]))
    base = {row["seed"]: row for row in rows if row["variant"] == "default"}
    print("| recovery | validation | test | difference on test, by seed | mean | seeds |\n|---|---|---|---|---|---|")
    for name, group in itertools.groupby(rows, key=lambda row: row["variant"]):
        found = list(group)
        means = [statistics.mean(100 * row[part] for row in found) for part in ("val", "test")]
        gains = [100 * (row["test"] - base[row["seed"]]["test"]) for row in found if row["seed"] in base]
        shown = ", ".join(f"{gain:+.2f}" for gain in gains)
        print(f"| {name} | {means[0]:.2f} | {means[1]:.2f} | {shown} | {statistics.mean(gains):+.2f} | {len(found)} |")


def main() -> None:
    """Run variants, or show what they came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run", help="Train what is not there yet.")
    running.set_defaults(do=run)
    running.add_argument("folder", type=Path)
    running.add_argument("results", type=Path)
    ask_for_data(running)
    running.add_argument("--epochs", type=int, default=4)
    running.add_argument("--before", type=int, default=2)
    running.add_argument("--batch-size", type=int, default=128)
    running.add_argument("--lr", type=float, default=0.05)
    running.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    running.add_argument("--variants", nargs="*", choices=VARIANTS)
    shown = commands.add_parser("table", help="Print the table.")
    shown.set_defaults(do=table)
    shown.add_argument("results", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.do(asked)


if __name__ == "__main__":
    main()
