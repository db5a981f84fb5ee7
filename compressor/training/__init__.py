"""The training loop, on Lightning Fabric; beside it the recipe, metrics, BatchNorm statistics and lasting zeros."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from compressor.data.feeds import Data
from compressor.data.normalization import Normalization
from compressor.errors import DamagedState
from compressor.foreign import parsing
from compressor.loggers import Log
from compressor.progress import Progress
from compressor.records.run import Epoch
from compressor.splitting.base import SplittingBase
from compressor.training.gpu_math import fast_math
from compressor.training.loop import Loop
from compressor.training.recipe import Recipe
from compressor.training.states import State
from compressor.training.views import Views


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    normalization: Normalization | None,
    splitting: SplittingBase | None = None,
    teacher: nn.Module | None = None,
    views: Views | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
    resumed: State | None = None,
    keep: Callable[[tuple[Epoch, ...], Callable[[], dict[str, Any]]], None] | None = None,
) -> tuple[Epoch, ...]:
    """Train ``model`` in place for the task of ``data``, and with what ``teacher`` says when there is one.

    With ``views`` the teacher is not asked again: every epoch shows one of them.

    Exact zeros stay zero unless ``splitting`` decides about them. A loss or weight that is not finite
    undoes the epoch and does it again with half the learning rate, `Diverged` after three times. ``keep`` gets all
    epochs after each, and a function that gives the state with which the next begins; ``resumed`` is such a state, of
    a training with the same arguments, which goes on as if it had not been interrupted.
    """
    epochs = list(resumed.course.epochs) if resumed is not None else []
    with torch.random.fork_rng(devices=[]), fast_math(recipe.on):
        # Dropout in the user's network draws from the global generator.
        torch.manual_seed(recipe.seed + recipe.before)
        run = Loop(model, data, recipe, normalization, splitting, teacher, views, progress, log)
        if resumed is not None:
            with parsing("the state of the training", DamagedState):
                run.go_on(resumed.run)
        try:
            while (done := sum(not epoch.lr_halved for epoch in epochs)) < recipe.epochs:
                epochs.append(run.epoch(done + 1))
                if on_epoch is not None:
                    on_epoch(epochs[-1])
                if keep is not None:
                    keep(tuple(epochs), run.state)
            run.adopt_average()
        finally:
            run.finish()
    return tuple(epochs)
