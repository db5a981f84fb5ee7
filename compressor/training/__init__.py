"""The training loop, on Lightning Fabric; beside it the recipe, metrics, BatchNorm statistics and lasting zeros."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from compressor.data.feeds import Data
from compressor.data.normalization import Normalization
from compressor.errors import DamagedState
from compressor.foreign import parsing
from compressor.loggers import Log
from compressor.progress import Progress
from compressor.ranks import alone
from compressor.records.run import Epoch
from compressor.splitting.base import SplittingBase
from compressor.stopping import deferred
from compressor.training.going_on import go_on, offer
from compressor.training.gpu_math import fast_math
from compressor.training.loop import Loop
from compressor.training.recipe import Recipe
from compressor.training.states import State
from compressor.training.team import Team
from compressor.training.views import Views

Run = Callable[[], dict[str, Any]]


class KeepWithin(Protocol):
    """Writes a state within an epoch where one is due, or ``now``."""

    def __call__(self, epochs: tuple[Epoch, ...], steps: int, run: Run, *, now: bool) -> None:
        """The ``epochs`` that are done, the ``steps`` of the next one, and what gives its state."""


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
    keep: Callable[[tuple[Epoch, ...], Run], None] | None = None,
    keep_within: KeepWithin | None = None,
    team: Team | None = None,
) -> tuple[Epoch, ...]:
    """Train ``model`` in place for the task of ``data``, and with what ``teacher`` says when there is one.

    With ``views`` the teacher is not asked again: every epoch shows one of them.

    Exact zeros stay zero unless ``splitting`` decides about them. A loss or weight that is not finite
    undoes the epoch and does it again with half the learning rate, `Diverged` after three times. ``keep`` gets all
    epochs after each, and a function that gives the state with which the next begins; ``keep_within`` after every step
    also how many are done of the epoch that was begun, and whether a state is wanted in any case, because a signal
    waits that ends the training. ``resumed`` is such a state, of a training with the same arguments, which goes on as
    if it had not been interrupted.

    The processes of a ``team`` all call this, with the same arguments, and each trains on its part of the batches; the
    first one also validates, keeps and tells.
    """
    epochs = list(resumed.course.epochs) if resumed is not None else []
    with torch.random.fork_rng(devices=[]), fast_math(recipe.on), _together(team), deferred() as signals:
        # Dropout in the user's network draws from the global generator.
        torch.manual_seed(recipe.seed + recipe.before)
        run = Loop(model, data, recipe, normalization, splitting, teacher, views, progress, log, team, signals)
        if resumed is not None:
            with parsing("the state of the training", DamagedState):
                go_on(run, resumed.run)

        def kept(now: bool) -> None:
            offer(run, partial(keep_within, tuple(epochs), run.epoch_done, now=now) if keep_within else None)

        try:
            while (done := sum(not epoch.lr_halved for epoch in epochs)) < recipe.epochs:
                epochs.append(run.epoch(done + 1, kept))
                if on_epoch is not None:
                    on_epoch(epochs[-1])
                offer(run, partial(keep, tuple(epochs)) if keep is not None else None)
                if run.ranks.of_first(lambda: signals.came):
                    kept(True)
                    signals.let_through()
            run.end()
        finally:
            run.finish()
    return tuple(epochs)


def _together(team: Team | None) -> AbstractContextManager[None]:
    """What is decided in the training holds for all of the team."""
    return nullcontext() if team is None else alone(False)
