"""What projection costs under other optimisers, learning rates, schedules, precisions and lengths than the default.

Fine-tunes an embedded network to half of its MACs in a plain training loop, and prints for every setting and
number of steps: the gap |W - P(W)| / |W| that is left, test accuracy before and after projection, the worst accuracy
on the validation part on the way, with BatchNorm's statistics as they are (they lag behind the weights) and
re-estimated, and the accuracy after the same short recovery of the removed network.

    python benchmarks/closing_the_gap.py --steps 100 1000 --settings sgd adamw-1e-3 --json gap.json
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, StepLR

from compressor import Splitting, load, shrink
from compressor.data import load_data
from compressor.files import write_text
from compressor.training.batchnorm import reestimate

BATCH, RECOVERY_STEPS, LOOKS, LOOK_BATCHES = 16, 100, 10, 10


def cosine(optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
    """Half a cosine to zero."""
    return LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / total)))


def steps_down(optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
    """A hundredth of the learning rate after every quarter, as in the finding that made this script."""
    return StepLR(optimizer, max(1, total // 4), gamma=0.01)


def constant(optimizer: torch.optim.Optimizer, total: int) -> LRScheduler:
    """The learning rate as it is."""
    return LambdaLR(optimizer, lambda step: 1.0)


def sgd(rate: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """Nesterov SGD."""
    return lambda model: torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=1e-4)


def adamw(rate: float) -> Callable[[nn.Module], torch.optim.Optimizer]:
    """AdamW with torch's defaults."""
    return lambda model: torch.optim.AdamW(model.parameters(), lr=rate)


# Optimiser, schedule, and whether there is a GradScaler that skips the first steps.
SETTINGS: dict[str, tuple[Callable[[nn.Module], torch.optim.Optimizer], Any, bool]] = {
    "sgd-0.02": (sgd(0.02), cosine, False),
    "adamw-1e-3": (adamw(1e-3), cosine, False),
    "adamw-1e-4": (adamw(1e-4), cosine, False),
    "adamw-1e-3-constant": (adamw(1e-3), constant, False),
    "sgd-steplr": (sgd(0.02), steps_down, False),
    "sgd-scaler": (sgd(0.02), cosine, True),
}


class Digits:
    """The digits as tensors, and endless random batches of the training part."""

    def __init__(self, shape: tuple[int, int, int], seed: int) -> None:
        data, self._shape = load_data("digits", shape), shape
        self.parts = {name: getattr(data, name) for name in ("train", "val", "test")}
        self._order = torch.Generator().manual_seed(seed)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Images in [0, 1] and labels."""
        train = self.parts["train"]
        places = torch.randint(len(train.labels), (BATCH,), generator=self._order)
        return train.images[places].float() / 255, train.labels[places]

    def reestimated(self, model: nn.Module) -> float:
        """Validation accuracy in percent with BatchNorm's statistics as the weights would have them."""
        twin, drawn = copy.deepcopy(model), Digits(self._shape, seed=1)
        reestimate(twin, (drawn.batch()[0] for _ in range(LOOK_BATCHES)))
        return self.accuracy(twin, "val")

    @torch.no_grad()
    def accuracy(self, model: nn.Module, part: str) -> float:
        """In percent; the mode of ``model`` is restored."""
        training, samples = model.training, self.parts[part]
        model.eval()
        right = (model(samples.images.float() / 255).argmax(1) == samples.labels).float().mean()
        model.train(training)
        return 100 * float(right)


def train(
    model: nn.Module,
    data: Digits,
    setting: str,
    steps: int,
    splitting: Splitting | None,
    look: Callable[[], None] | None,
) -> None:
    """``steps`` optimiser steps; ``look`` is called now and then."""
    build, schedule, scaled = SETTINGS[setting]
    optimizer = build(model)
    scheduler = schedule(optimizer, steps)
    # So large at the start that the first steps overflow, as they do in 16 bits; those take minutes on a CPU.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, enabled=scaled)
    handle = splitting.attach(optimizer) if splitting is not None else None
    model.train()
    for step in range(steps):
        images, labels = data.batch()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the scheduler's word on steps that the scaler skips
            scheduler.step()
        if look is not None and (step + 1) % max(1, steps // LOOKS) == 0:
            look()
    if handle is not None:
        handle.remove()


def measure(name: str, setting: str, steps: int, seed: int, **options: Any) -> dict[str, Any]:
    """One row of the table."""
    torch.manual_seed(seed)
    network = load(name)
    model, example = network.model, network.example_input()
    data = Digits(tuple(network.metadata.input_shape), seed)  # type: ignore[arg-type]
    dense = data.accuracy(model, "val")
    splitting = Splitting(model, example, target_macs=0.5, total_steps=steps, **options)
    seen: list[tuple[float, float]] = []
    began = time.monotonic()
    train(
        model,
        data,
        setting,
        steps,
        splitting,
        lambda: seen.append((data.accuracy(model, "val"), data.reestimated(model))),
    )
    seconds = time.monotonic() - began
    gap, trained = splitting.gap(), data.accuracy(model, "test")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        splitting.project()
    projected = data.accuracy(model.eval(), "test")
    small = copy.deepcopy(shrink(model, example))
    train(small, data, "sgd-0.02", RECOVERY_STEPS, None, None)
    return {
        "network": name, "setting": setting, "steps": steps, "seed": seed, "counted": splitting.step, "gap": gap,
        "trained": trained, "projected": projected, "worst_val_drop": dense - min(lagging for lagging, _ in seen),
        "worst_val_drop_reestimated": dense - min(true for _, true in seen),
        "recovered": data.accuracy(small.eval(), "test"), "seconds": round(seconds, 1),
    }  # fmt: skip


def main() -> None:
    """Print a line a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--network", default="digits_resnet")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for steps in args.steps:
        for setting in args.settings:
            for seed in range(args.seeds):
                rows.append(measure(args.network, setting, steps, seed))
                row = rows[-1]
                print(
                    f"{setting:20} {steps:5} steps: gap {row['gap']:.1e}, trained {row['trained']:.1f} %, "
                    f"projected {row['projected']:.1f}, worst validation drop {row['worst_val_drop']:.1f}, "
                    f"re-estimated {row['worst_val_drop_reestimated']:.1f}, "
                    f"recovered {row['recovered']:.1f}, {row['seconds']:.0f} s",
                    flush=True,
                )
                if args.json is not None:
                    write_text(args.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
