"""How to train: what a user can choose, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from compressor.errors import UsageError
from compressor.training.objective import SHARE
from compressor.training.rates import SCHEDULES, learning_rate_factor

LEARNING_RATES = {"adamw": 1e-3, "sgd": 0.02}
# What the optimiser multiplies a gradient by must be a float32; AdamW divides the rate by 0.1 in its first step.
LARGEST_RATES = {"adamw": 1e37, "sgd": 1e38}
# How many tensors the optimiser keeps for each parameter.
OPTIMIZER_TENSORS = {"adamw": 2, "sgd": 1}
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
# Whichever is faster: `compressor.training.precision` measures it before the training.
AUTO = "auto"
# No training takes as many epochs, and numbers of 32 bits end there.
MOST_EPOCHS, LARGEST = 1_000_000, 3e38


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Epochs, optimiser and machine of one training; ``lr`` None means the optimiser's default.

    The learning rate runs along one curve over the epochs ``before``, those of this training and those ``after``: a
    training that is cut in two, because the network changes in between, keeps it. ``schedule`` is one of
    `compressor.training.rates.SCHEDULES`. Where there is a teacher, ``teacher_share`` of the loss is by what it says.
    With ``ema`` the result is the moving average of the weights, which decays by that from step to step. The gradients
    of ``accumulate`` batches make one step of the optimiser, shortened to a norm of ``clip`` where they are longer.
    With ``compile`` the network is compiled by torch first.
    """

    epochs: int
    lr: float | None = None
    batch_size: int = 64
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    device: str = "auto"
    precision: str = "32"
    seed: int = 0
    schedule: str = "cosine"
    teacher_share: float = SHARE
    ema: float | None = None
    accumulate: int = 1
    clip: float | None = None
    compile: bool = False
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        self._check_counts()
        if self.optimizer not in LEARNING_RATES:
            raise UsageError(f"--optimizer must be one of {', '.join(LEARNING_RATES)}, got {self.optimizer!r}")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"--schedule must be one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if self.precision not in {AUTO, *PRECISIONS}:
            raise UsageError(f"--precision must be one of {', '.join([AUTO, *PRECISIONS])}, got {self.precision!r}")
        self._check_rates()

    def _check_counts(self) -> None:
        if self.epochs < 1:
            raise UsageError(f"--epochs must be at least 1, got {self.epochs}")
        if self.epochs > MOST_EPOCHS:
            raise UsageError(f"--epochs must be at most {MOST_EPOCHS:,}, got {self.epochs:,}")
        if self.before < 0 or self.after < 0:
            raise UsageError(f"epochs before and after must be at least 0, got {self.before} and {self.after}")
        if self.batch_size < 2:
            raise UsageError(f"--batch-size must be at least 2, got {self.batch_size}")
        if self.accumulate < 1:
            raise UsageError(f"--accumulate must be at least 1, got {self.accumulate}")
        if self.seed < 0:
            raise UsageError(f"--seed must be 0 or more, got {self.seed}")
        if self.seed >= 2**63:
            raise UsageError(f"--seed must be below 2^63, got {self.seed}")

    def _check_rates(self) -> None:
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise UsageError(f"--lr must be positive, got {self.lr:g}")
        if self.learning_rate > LARGEST_RATES[self.optimizer]:
            largest = LARGEST_RATES[self.optimizer]
            raise UsageError(f"--lr must be at most {largest:g} for {self.optimizer}, got {self.learning_rate:g}")
        if not 0 <= self.momentum < 1:
            raise UsageError(f"momentum must lie in [0, 1), got {self.momentum:g}")
        if not 0 <= self.weight_decay <= LARGEST:
            raise UsageError(f"weight_decay must lie between 0 and {LARGEST:g}, got {self.weight_decay:g}")
        if not 0 <= self.teacher_share <= 1:
            raise UsageError(f"--teacher-share must lie between 0 and 1, got {self.teacher_share:g}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise UsageError(f"--ema must lie between 0 and 1, got {self.ema:g}")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise UsageError(f"--clip must be positive, got {self.clip:g}")

    @property
    def learning_rate(self) -> float:
        """The peak learning rate."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr

    def steps(self, samples: int) -> int:
        """Optimiser steps of the whole training; what is left of an epoch and fills no step is left out.

        Raises `UsageError` as `epoch_steps`.
        """
        return self.epochs * self.epoch_steps(max(1, samples // self.batch_size))

    def epoch_steps(self, batches: int) -> int:
        """Optimiser steps of an epoch of so many batches.

        Raises `UsageError` when an epoch has fewer batches than a step accumulates.
        """
        if batches < self.accumulate:
            raise UsageError(f"--accumulate must be at most {batches}, the batches of an epoch, got {self.accumulate}")
        return batches // self.accumulate

    def rate(self, step: int, epoch_steps: int) -> float:
        """The share of the peak learning rate at ``step`` of this training, whose epochs have ``epoch_steps``."""
        total = (self.before + self.epochs + self.after) * epoch_steps
        return learning_rate_factor(self.before * epoch_steps + step, total, self.schedule)

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """The optimiser over all trainable parameters; weight decay spares biases and norms."""
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trainable:
            raise UsageError("the network has no trainable parameter: all are frozen (requires_grad is off)")
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if self.optimizer == "adamw":
            return AdamW(groups, lr=self.learning_rate)
        return SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=self.momentum > 0)

    @property
    def on(self) -> torch.device:
        """The chosen device; `UsageError` when it is not there."""
        return torch.device(pick_device(self.device))

    @property
    def arithmetic(self) -> str:
        """The precision as Fabric calls it; 32 bits while it is not known which one is faster."""
        return PRECISIONS.get(self.precision, PRECISIONS["32"])

    def fabric(self) -> Fabric:
        """Lightning Fabric for the chosen device and precision; `UsageError` when they do not go together."""
        device = pick_device(self.device)
        refuse_half_on_cpu(self, device)
        accelerator, _, index = device.partition(":")
        return Fabric(
            accelerator=accelerator,
            devices=[int(index)] if index else 1,
            precision=self.arithmetic,  # type: ignore[arg-type]
        )


def refuse_half_on_cpu(recipe: Recipe, device: str) -> None:
    """Raise `UsageError` where ``recipe`` asks for a precision that the ``device`` has not."""
    if device == "cpu" and recipe.precision == "16":
        raise UsageError("--precision 16 needs a GPU; on the CPU use bf16 or 32")


def pick_device(text: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:i`` as "cpu" or "cuda:i"; `UsageError` when it is not there."""
    kind, colon, index = text.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (colon and not (kind == "cuda" and index.isdecimal())):
        raise UsageError(f"--device must be auto, cpu, cuda or cuda:INDEX, got {text!r}")
    if kind == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if kind == "cpu":
        return "cpu"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise UsageError(f"--device {text} is not available: {count} CUDA devices are visible; use --device cpu")
    return f"cuda:{int(index or 0)}"
