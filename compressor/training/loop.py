"""One training as it goes: its epochs, and what there is to say of each."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from compressor.data.device import resident
from compressor.data.feeds import Data, channels_last, feed_of
from compressor.data.normalization import Normalization
from compressor.data.samples import DataSet
from compressor.data.shares import WHOLE
from compressor.errors import CompressorError
from compressor.inputs import samples_in
from compressor.loggers import Log
from compressor.progress import Progress, silent
from compressor.ranks import Ranks, alone
from compressor.records import Metric
from compressor.records.run import Epoch
from compressor.splitting.agreement import differing
from compressor.splitting.base import SplittingBase
from compressor.stopping import Deferred, Stop
from compressor.training.averaging import WeightAverage
from compressor.training.batchnorm import reestimate_on
from compressor.training.compiling import compiled, compiling
from compressor.training.objective import distilled, loss_of
from compressor.training.recipe import Recipe
from compressor.training.sharding import Sharded
from compressor.training.team import Team, fabric_of
from compressor.training.telling import Telling
from compressor.training.undoing import finite, undo, undoable
from compressor.training.validation import validated, validated_as_it_is
from compressor.training.views import Views
from compressor.training.zeros import keep_zeros

Keep = Callable[[bool], None]
"""Writes a state where one is due after a step; with True in any case."""


class Loop:
    """What one call of `train` does, with its arguments."""

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        recipe: Recipe,
        normalization: Normalization | None,
        splitting: SplittingBase | None,
        teacher: nn.Module | None,
        views: Views | None,
        progress: Progress | None,
        log: Log | None,
        team: Team | None,
        signals: Deferred,
    ) -> None:
        self.team, self.signals = team, signals
        self.share, self.ranks = (team.share, team.ranks) if team is not None else (WHOLE, Ranks())
        in_shards = team is not None and team.in_shards
        self.sharded = Sharded(model, splitting, first=self.speaks) if in_shards else None
        if self.sharded is not None:
            model, splitting = self.sharded.model, self.sharded.splitting
        self.model, self.recipe, self.normalization = model, recipe, normalization
        self.fabric: Fabric = recipe.fabric() if team is None else fabric_of(recipe, team.place, in_shards=in_shards)
        self.data, self.views = resident(data, self.fabric.device), views
        self.splitting = splitting
        self.feed = feed_of(self.data, normalization)
        self.epoch_steps = recipe.epoch_steps(self.feed.count(recipe.batch_size, self.share.size))
        self.total_steps = recipe.epochs * self.epoch_steps
        self.step, self.retries = 0, 0
        self.begun: dict[str, Any] | None = None
        self.shuffle = torch.Generator().manual_seed(recipe.seed + recipe.before)
        self.telling = Telling(recipe.epochs, self.total_steps, self.fabric.device, splitting, progress or silent, log)
        # Faster convolutions on CPUs and tensor cores alike; undone in `finish`.
        if self.sharded is None:  # whose rows must be contiguous, and which goes to its device block by block
            model.to(self.fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.teacher = teacher.to(self.fabric.device).eval() if teacher is not None else None
        self.wrapped = self.fabric.setup_module(compiled(model) if recipe.compile else model)
        optimizer = recipe.build_optimizer(model)
        whole = self.sharded.network if self.sharded is not None else None
        attach = partial(keep_zeros, model, whole=whole) if splitting is None else splitting.attach
        self.handle = attach(optimizer)
        self.average = WeightAverage(model, recipe.ema) if recipe.ema is not None else None
        self.scheduler = LambdaLR(optimizer, self.factor)
        self.inner_optimizer: Optimizer = optimizer
        self.optimizer: Any = self.fabric.setup_optimizers(optimizer)

    def epoch(self, number: int, keep: Keep) -> Epoch:
        """Do the ``number``-th, from 1, or undo it where it diverged; `Diverged` where that was once too often.

        It goes on with one that was begun. ``keep`` is called after every step, and before a signal is let through.
        """
        begun = self.begun = self.begun or self.begin()
        self._pass(number, begun, keep)
        loss = _mean(begun)
        self.telling.passed(self.step)
        if not all(self.ranks.of_each(math.isfinite(loss) and finite(self.model))):
            undo(self, begun["before"], loss)
            epoch = self._figures_of(number, None, self._gap())
        else:
            gap, stopped = self._gap(), None
            try:
                with self.signals.at_once():
                    epoch = self._figures_of(number, loss, gap)
            except Stop as error:
                stopped = error
            if self.ranks.of_first(lambda: stopped is not None):
                keep(True)
            if stopped is not None:
                raise stopped
        self.begun = None
        self.telling.epoch(epoch, self.step, self.rate)
        return epoch

    @property
    def epoch_done(self) -> int:
        """Steps of the epoch that was begun."""
        return int(self.begun["steps"]) if self.begun is not None else 0

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.scheduler.get_last_lr()[0])

    def end(self) -> None:
        """End with the average of the weights, where there is one, and with its statistics, which one rank finds.

        What was trained in shards is whole on the first rank then.

        `CompressorError` where the processes have other weights than each other.
        """
        if (name := differing(self.model, self.ranks)) is not None:
            raise CompressorError(
                f"the {self.share.size} processes ended with different weights ({name}), so what they computed is not "
                "one training; the loss or the network does other things on one than on another"
            )
        if self.average is not None:
            self.average.adopt()
        if self.sharded is not None:
            self.sharded.end()
        if self.average is not None and self.speaks:
            with alone():
                reestimate_on(self._whole(), self.data, self.normalization, self.recipe.seed)

    def finish(self) -> None:
        """Leave the network on the CPU, as it came, and in evaluation mode."""
        self.handle.remove()
        model = self.model if self.sharded is None else self.sharded.network
        model.to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        model.eval()

    @property
    def speaks(self) -> bool:
        """Whether this is the only process, or the first."""
        return self.team is None or self.team.first

    def begin(self) -> dict[str, Any]:
        """An epoch: what it is undone to, how its order is drawn, and what is done of it."""
        return {
            "before": {**undoable(self), "model": copy.deepcopy(self.model.state_dict())},
            "shuffle": self.shuffle.get_state(),
            "steps": 0,
            "loss": torch.zeros((), device=self.fabric.device),
            "count": 0,
        }

    def _pass(self, number: int, begun: dict[str, Any], keep: Keep) -> None:
        """The rest of a pass over the training part, or all of it."""
        self.model.train()
        self.telling.pace.begin()
        self.shuffle.set_state(begun["shuffle"])
        done = begun["steps"] * self.recipe.accumulate
        # As many batches as make a step; `zip` leaves out those that make none.
        for together in zip(*[self._batches(number, done)] * self.recipe.accumulate, strict=False):
            self._seed_step()
            if self.sharded is not None:
                self.sharded.share_buffers()
            self.optimizer.zero_grad()
            with self.telling.pace.network(), compiling() if self.recipe.compile else nullcontext():
                for place, (batch, said) in enumerate(together, start=1):
                    with self.fabric.no_backward_sync(self.wrapped, enabled=place < len(together)):
                        loss = self._loss(batch, said)
                        self.fabric.backward(loss / len(together))
                    begun["loss"] = begun["loss"] + self._over_ranks(loss.detach())
            if self.recipe.clip is not None:
                # What is no number is seen after the epoch.
                limits: dict[str, Any] = {"max_norm": self.recipe.clip, "error_if_nonfinite": False}
                self.fabric.clip_gradients(self.wrapped, self.optimizer, **limits)
            self.optimizer.step()
            self.scheduler.step()
            if self.average is not None:
                self.average.update()
            self.step += 1
            begun["steps"], begun["count"] = begun["steps"] + 1, begun["count"] + len(together)
            samples = sum(samples_in(self.feed.task.inputs(batch)) for batch, _ in together)
            self.telling.step(number, self.step, partial(_mean, begun), self.rate, samples * self.share.size)
            keep(self.signals.came)
            self.signals.let_through()

    def _seed_step(self) -> None:
        """Other ranks than the first begin each step with random numbers of their own, so that no state has theirs."""
        if not self.speaks:
            text = f"{self.recipe.seed} {self.recipe.before} {self.step} {self.share.rank}"
            torch.manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]))

    def _over_ranks(self, loss: Tensor) -> Tensor:
        """Its mean over all ranks, which nothing waits for."""
        if self.team is None:
            return loss
        mean = self.fabric.all_reduce(loss.clone(), reduce_op="mean")
        assert isinstance(mean, Tensor)
        return mean

    def _gap(self) -> float | None:
        """That of the splitting; what is in shards is brought together, so that the first rank can measure it."""
        if self.sharded is not None and self.data.validates:
            self.sharded.shipped(self.average)
        return self.splitting.gap() if self.splitting is not None else None

    def _whole(self) -> nn.Module:
        """On the first rank: the network on its device, of what was in shards as it was last brought together."""
        if self.sharded is None:
            return self.model
        whole = self.sharded.network.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        assert isinstance(whole, nn.Module)
        return whole

    def _validated(self) -> Metric | None:
        known = self.data, self.normalization
        if self.sharded is None or not self.data.validates:
            return validated(self.model, *known, self.splitting, self.recipe.seed, average=self.average)
        changed = self.splitting is not None or self.average is not None
        try:
            return validated_as_it_is(self._whole(), *known, self.recipe.seed, reestimated=changed)
        finally:
            self.sharded.network.to("cpu")

    def _figures_of(self, number: int, loss: float | None, gap: float | None) -> Epoch:
        """What there is to say of an epoch, undone where there is no ``loss``.

        The first rank measures, the others wait: so it is the metric of any task, on the same samples in the same order
        as with one process.
        """
        with alone():
            validation = self._validated() if self.speaks else None
            self.telling.validated(validation)
            splitting = self.splitting
            return Epoch(
                epoch=number,
                loss=loss,
                validation=validation,
                macs_kept=splitting.macs_kept if splitting is not None else None,
                beta=splitting.beta if splitting is not None and math.isfinite(splitting.beta) else None,
                gap=gap,
                lr_halved=loss is None,
            )

    def _batches(self, number: int, done: int) -> Iterator[tuple[Any, Any]]:
        """Batches but for the first that are ``done`` and, where it was asked before, what the teacher says of them."""
        epoch = self.recipe.before + number - 1
        known: dict[str, Any] = {
            "batch_size": min(self.recipe.batch_size, self.data.train_samples),
            "device": self.fabric.device,
            "shuffle": self.shuffle,
            "share": self.share,
            "done": done,
        }
        if self.views is None or not isinstance(self.data, DataSet):
            return ((batch, None) for batch in self.feed.epoch(epoch, **known))
        viewed = self.views.batches(epoch, self.data, normalization=self.normalization, **known)
        return (((channels_last(images), labels), said) for images, labels, said in viewed)

    def _loss(self, batch: Any, said: Any) -> Tensor:
        if said is None and self.teacher is None:
            return loss_of(self.feed.task, self.wrapped, batch)
        asked = partial(self._ask, batch) if said is None else said
        return distilled(self.wrapped, batch, asked, task=self.feed.task, share=self.recipe.teacher_share)

    def _ask(self, batch: Any) -> Any:
        """What the teacher says."""
        assert self.teacher is not None
        with torch.no_grad(), self.fabric.autocast():
            return self.feed.task.outputs(self.teacher, batch)

    def factor(self, step: int) -> float:
        """That of the learning rate in a step."""
        return self.recipe.rate(step, self.epoch_steps)


def _mean(begun: dict[str, Any]) -> float:
    """The loss of what was done of an epoch."""
    mean: float = float(begun["loss"]) / begun["count"]
    return mean
