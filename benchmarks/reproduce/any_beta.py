"""A few hundred steps at learning rate 0.1 for every beta: the implicit pull beside the same pull as a gradient.

The gradient pull adds beta (W - U) + beta (W - V) to the gradient of the loss, so that the optimiser's momentum or
scaling gets hold of it, as in the papers' codes. It is written here as a control; U and V are read off the package.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from plain_norms import project
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer

from compressor import Splitting
from compressor.checkpoints import load
from compressor.data import load_data
from compressor.data.batches import batches
from compressor.data.samples import Samples
from compressor.training.evaluation import model_accuracy

LR, TARGET, LAST = 0.1, 0.5, 10
OPTIMIZERS: Mapping[str, Callable[[nn.Module], Optimizer]] = {
    "SGD": lambda model: SGD(model.parameters(), lr=LR),
    "Nesterov SGD": lambda model: SGD(model.parameters(), lr=LR, momentum=0.9, nesterov=True),
    "AdamW": lambda model: AdamW(model.parameters(), lr=LR),
}
BETAS = (1e-3, 1e-1, 1e1, 1e2, 1e4)
RAMP = (1.0, 1e4)
COPIES: Mapping[str, Mapping[str, Any]] = {"U": {"target_macs": TARGET}, "V": {"penalty": "l1-l2"}}
# The copies that one splitting holds; the control needs each for itself, since their pulls add up.
PULLS: Mapping[str, Sequence[str]] = {
    "none": (),
    "implicit, U": ("U",),
    "implicit, U and V": ("UV",),
    "gradient, U": ("U",),
    "gradient, U and V": ("U", "V"),
}


@dataclass(frozen=True, kw_only=True)
class Pull:
    """One training of an embedded network; ``beta`` is its range."""

    network: str
    batch: int
    optimizer: str
    pull: str
    beta: tuple[float, float]
    steps: int
    seed: int = 0

    @property
    def file(self) -> str:
        """Where its figures are kept."""
        words = (self.network, self.optimizer, self.pull, "{:g}-{:g}".format(*self.beta), self.steps, self.seed)
        return "-".join(str(word).replace(", ", "-").replace(" ", "-") for word in words) + ".json"


def sweep(network: str, batch: int, steps: int) -> list[Pull]:
    """All trainings of a network."""
    ranges = [*((beta, beta) for beta in BETAS), RAMP]
    return [
        Pull(network=network, batch=batch, optimizer=optimizer, pull=pull, beta=beta, steps=steps)
        for optimizer in OPTIMIZERS
        for pull in PULLS
        for beta in (ranges[:1] if pull == "none" else ranges)
    ]


def train(job: Pull) -> dict[str, Any]:
    """Train until the last step or the first loss or weight that is not finite."""
    began, network = time.monotonic(), load(job.network)
    data = load_data("digits", network.metadata.input_shape)
    model = copy.deepcopy(network.model).train()
    optimizer = OPTIMIZERS[job.optimizer](model)
    splittings = [_splitting(model, network.example_input(), job, copies) for copies in PULLS[job.pull]]
    if job.pull.startswith("implicit"):
        for splitting in splittings:
            splitting.attach(optimizer)
    losses, finite = deque[float](maxlen=LAST), True
    for step, (images, labels) in enumerate(_endless(data.train, job), 1):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        if job.pull.startswith("gradient"):
            add_pulls(model, splittings)
        optimizer.step()
        losses.append(loss.item())
        finite = math.isfinite(losses[-1]) and all(bool(part.isfinite().all()) for part in model.state_dict().values())
        if step == job.steps or not finite:
            break
    figures: dict[str, Any] = {"network": job.network, "optimizer": job.optimizer, "pull": job.pull}
    figures |= {"beta": _words(job), "finite": finite, "steps": step}
    if finite:
        figures["loss"] = statistics.mean(losses)
        figures["accuracy"] = 100 * model_accuracy(model, data.test, None).value
        figures["gap"] = max((splitting.gap() for splitting in splittings), default=None)
        for splitting in splittings:
            project(splitting)
        figures["projected"] = 100 * model_accuracy(model, data.test, None).value
    return figures | {"seconds": time.monotonic() - began}


@torch.no_grad()
def add_pulls(model: nn.Module, splittings: Sequence[Splitting]) -> None:
    """Add beta (W - U) of every splitting to the gradients, and count a step; beta is per learning rate here."""
    before = {parameter: parameter.clone() for parameter in model.parameters() if parameter.grad is not None}
    for splitting in splittings:
        if splitting.schedule.revises(splitting.step):
            splitting.revise()
        schedule = splitting.schedule
        progress = splitting.step / schedule.total_steps
        beta = schedule.beta_start * (schedule.beta_end / schedule.beta_start) ** progress
        land(splitting, beta)
        splitting.step += 1
        for parameter, w in before.items():
            assert parameter.grad is not None
            parameter.grad.add_(w - parameter, alpha=beta)
            parameter.copy_(w)


def land(splitting: Splitting, beta: float) -> None:
    """Set W to U, or to V."""
    if splitting._selection is not None:
        splitting._selection.channels.pull(1.0)
    if splitting._single is not None:
        splitting._single._auxiliary.pull(1.0, splitting._single._lambda / beta)


def _splitting(model: nn.Module, example: Tensor, job: Pull, copies: str) -> Splitting:
    options = {name: value for copy_ in copies for name, value in COPIES[copy_].items()}
    return Splitting(model, example, total_steps=job.steps, beta=job.beta, **options)


def _endless(samples: Samples, job: Pull) -> Iterator[tuple[Tensor, Tensor]]:
    shuffle = torch.Generator().manual_seed(job.seed)
    while True:
        yield from batches(samples, batch_size=job.batch, normalization=None, shuffle=shuffle, drop_last=True)


def _words(job: Pull) -> str:
    start, end = job.beta
    return "-" if job.pull == "none" else f"{start:g}" if start == end else f"{start:g} to {end:g}"
