"""The methods of Torch-Pruning, as its own scripts for CIFAR use them, in this project's training loop.

Pruning goes in `STEPS` small steps, which end where the MACs are as few as asked for; widths are rounded to multiples
of `ROUND_TO`. Regularisers act between the backward pass and the step of the optimiser, without weight decay. What
belongs to 100 epochs there is spread over the shorter sparse training here.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import msgspec
import torch
import torch_pruning as tp
from peer_cells import Cell, Key, Seconds, stopwatch
from peer_training import Bench
from torch import nn
from torch.nn import functional as F
from torch.optim import Optimizer

from compressor.data.batches import batches
from compressor.errors import UsageError
from compressor.files import write_bytes
from compressor.training.recipe import Recipe

# Of Torch-Pruning's reproduce/main.py.
STEPS, GROWTHS = 400, 100
# The least multiple that keeps the blocked convolutions of ONNX Runtime.
ROUND_TO = 4
# Gradients are taken anew after so many steps, on so many images: a backward pass for each is dear.
REFRESH, BATCHED, SINGLE = 40, 640, 128


@dataclass(frozen=True)
class Setting:
    """Whether channels of all layers compete, and how strong the regulariser is."""

    everywhere: bool
    strength: float | None = None

    def __str__(self) -> str:
        mode = "global" if self.everywhere else "local"
        return mode if self.strength is None else f"{mode}-{self.strength:g}"


@dataclass(frozen=True)
class Rival:
    """A pruner with its importance; ``strengths`` are tried where it has a regulariser.

    ``gradients`` gives the parameters the gradients that the importance reads, on a share of the training part.
    """

    pruner: Callable[..., Any]
    importance: Callable[[], Any]
    strengths: tuple[float, ...] = ()
    gradients: Callable[[nn.Module, Bench], None] | None = None
    needs: type[nn.Module] | None = None

    @property
    def settings(self) -> dict[str, Setting]:
        """What is tried, by name; the first is what is run where nothing is chosen."""
        made = [Setting(mode, strength) for strength in self.strengths or (None,) for mode in (True, False)]
        return {str(setting): setting for setting in made}


def batched_gradients(model: nn.Module, bench: Bench) -> None:
    """Those of the loss over `BATCHED` training images, summed over batches, as Torch-Pruning's Taylor wants them."""
    model.zero_grad()
    for images, labels in _samples(bench, BATCHED, 128):
        F.cross_entropy(model(images), labels).backward()


def squared_gradients(model: nn.Module, bench: Bench) -> None:
    """The mean squares over `SINGLE` training images, which its Hessian reads where gradients lie.

    Its own ``accumulate_grad`` (1.6.1) keeps the last image alone: it looks for names among parameters.
    """
    squares = {parameter: torch.zeros_like(parameter) for parameter in model.parameters()}
    for images, labels in _samples(bench, SINGLE, 1):
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        for parameter, square in squares.items():
            if parameter.grad is not None:
                square += parameter.grad**2 / SINGLE
    for parameter, square in squares.items():
        parameter.grad = square


def _samples(bench: Bench, count: int, batch_size: int) -> Any:
    train = bench.data.train
    places = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:count]
    return batches(train.take(places), batch_size=batch_size, normalization=bench.dense.metadata.normalization)


MAGNITUDE = tp.importance.GroupMagnitudeImportance
# Its own is 5e-4, for 100 epochs. One that grows ends at 21 times as much.
STRENGTHS, GROWING = (5e-4, 5e-3, 2.5e-2), (5e-4, 5e-5, 5e-3)
RIVALS = {
    "group-norm": Rival(tp.pruner.GroupNormPruner, lambda: MAGNITUDE(p=2, normalizer="max"), STRENGTHS),
    "bn-scale": Rival(
        tp.pruner.BNScalePruner, tp.importance.BNScaleImportance, STRENGTHS, needs=nn.modules.batchnorm._BatchNorm
    ),
    "growing-reg": Rival(tp.pruner.GrowingRegPruner, lambda: MAGNITUDE(p=2), GROWING),
    "taylor": Rival(tp.pruner.BasePruner, tp.importance.GroupTaylorImportance, gradients=batched_gradients),
    "hessian": Rival(tp.pruner.BasePruner, tp.importance.GroupHessianImportance, gradients=squared_gradients),
    "magnitude": Rival(tp.pruner.BasePruner, lambda: MAGNITUDE(p=2)),
    "random": Rival(tp.pruner.BasePruner, tp.importance.RandomImportance),
}


def pruner_of(rival: Rival, setting: Setting, model: nn.Module, bench: Bench) -> Any:
    """The rival's pruner around ``model``."""
    options: dict[str, Any] = {"reg": setting.strength} if setting.strength is not None else {}
    if rival.pruner is tp.pruner.GrowingRegPruner:
        options["delta_reg"] = setting.strength / 5  # as 1e-4 beside 5e-4 there
    return rival.pruner(
        model,
        bench.dense.example_input(),
        importance=rival.importance(),
        global_pruning=setting.everywhere,
        pruning_ratio=1.0,
        iterative_steps=STEPS,
        ignored_layers=ignored(model, bench),
        round_to=ROUND_TO,
        # Of its own: the default ones are shared between pruners.
        in_channel_groups={},
        out_channel_groups={},
        **options,
    )


def ignored(model: nn.Module, bench: Bench) -> list[nn.Module]:
    """The classifier, and with ``held`` every layer of another name."""
    layers = [(name, module) for name, module in model.named_modules() if not [*module.children()]]
    if bench.subject.held:
        return [layer for name, layer in layers if not any(fnmatchcase(name, held) for held in bench.subject.held)]
    return [layer for _, layer in layers if isinstance(layer, nn.Linear)][-1:]


def prune(rival: Rival, pruner: Any, bench: Bench, share: float, seed: int) -> Seconds:
    """Remove channels step by step, group by group, until at most ``share`` of the MACs is left, or none can go."""
    model = pruner.model.eval()
    goal = share * bench.macs(bench.dense.model)
    with torch.random.fork_rng(devices=[]), stopwatch() as taken:
        torch.manual_seed(seed)
        while bench.macs(model) > goal and pruner.current_step < STEPS:
            if rival.gradients is not None and pruner.current_step % REFRESH == 0:
                rival.gradients(model, bench)
            for group in pruner.step(interactive=True):
                group.prune()
                if bench.macs(model) <= goal:
                    break  # a step of many layers at once would go far below what was asked for
    model.zero_grad()
    return taken[0]


@dataclass(frozen=True, kw_only=True)
class Regularised(Recipe):
    """A recipe whose optimiser calls ``regularise`` before every step."""

    regularise: Callable[[], None]

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """With the hook."""
        optimizer = super().build_optimizer(model)
        optimizer.register_step_pre_hook(lambda *_: self.regularise())
        return optimizer


def regularised(recipe: Recipe, pruner: Any, steps: int) -> Regularised:
    """``recipe`` without weight decay, with the regulariser of ``pruner``, which grows if it is of that kind."""
    done = 0

    def regularise() -> None:
        nonlocal done
        pruner.regularize(pruner.model)
        done += 1
        if isinstance(pruner, tp.pruner.GrowingRegPruner):
            for _ in range(done * GROWTHS // steps - (done - 1) * GROWTHS // steps):
                pruner.update_reg()

    return Regularised(**{**vars(recipe), "weight_decay": 0.0}, regularise=regularise)


def sparse_trained(
    rival: Rival, setting: Setting, bench: Bench, recipe: Recipe, path: Path
) -> tuple[nn.Module, Seconds, float]:
    """The network after sparse training, its time and its accuracy; kept at ``path``, since all targets share it."""
    model = bench.copy()
    if not path.exists():
        pruner = pruner_of(rival, setting, model, bench)
        seconds = bench.train(model, regularised(recipe, pruner, recipe.steps(len(bench.data.train))))
        kept = {
            "state": model.state_dict(),
            "seconds": msgspec.structs.asdict(seconds),
            "accuracy": bench.accuracy(model),
        }
        content = io.BytesIO()
        torch.save(kept, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.getvalue())
    known = torch.load(path, weights_only=True)
    model.load_state_dict(known["state"])
    return model, Seconds(**known["seconds"]), known["accuracy"]


def run(key: Key, bench: Bench, results: Path) -> Cell:
    """One cell of a rival; `UsageError` where its method has nothing to work on."""
    rival = RIVALS[key.method]
    setting, share = rival.settings[key.setting], 1 / key.target
    if rival.needs is not None and not any(isinstance(m, rival.needs) for m in bench.dense.model.modules()):
        raise UsageError(f"{key.method} has nothing to work on in {bench.name}")
    plain = pruner_of(rival, setting, bench.copy(), bench)
    seconds = prune(rival, plain, bench, share, key.seed)
    model = cast(nn.Module, plain.model)
    untrained = bench.accuracy(model)
    sparse, removed, recipe = None, untrained, bench.plan(key.seed).recipe
    if rival.strengths:
        path = key.path(results, ".json").with_name(f"sparse-{key.seed}.pt")
        first, recipe = bench.phases(key.seed)
        model, seconds, sparse = sparse_trained(rival, setting, bench, first, path)
        seconds += prune(rival, pruner_of(rival, setting, model, bench), bench, share, key.seed)
        removed = bench.accuracy(model)
    seconds += bench.train(model, recipe) + bench.asked(key.seed)[1]
    return bench.cell(
        key,
        model,
        key.path(results, ".onnx"),
        seconds,
        {"untrained": untrained, "sparse": sparse, "removed": removed},
        {"round_to": ROUND_TO, "steps": STEPS, "global": setting.everywhere, "strength": setting.strength},
    )
