"""Callbacks for the trainers of Ultralytics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.integrations.compression import Compression, samples_of
from compressor.integrations.state_file import read_state, write_state
from compressor.splitting import Splitting

try:
    from ultralytics.engine.model import Model
    from ultralytics.engine.trainer import BaseTrainer
    from ultralytics.utils.torch_utils import unwrap_model
except ImportError as error:
    raise UsageError("this callback needs Ultralytics: pip install 'torch-compressor[ultralytics]'") from error

STATE = "compression.pt"


class CompressionCallback(Compression):
    """Compresses the network that a model of Ultralytics trains: `add_to` the model, train it, shrink ``network``.

    That is the average of the weights which Ultralytics validates and saves. It gets its zeros when the gap of the
    weights is closed, and is projected before the last validation, so that ``last.pt`` holds the projected one too.
    Beside it, in ``compression.pt``, lies the state of the splitting, with which ``resume=True`` goes on. One device:
    for several, Ultralytics starts processes that know no callbacks. ``example_input`` and ``options`` are as in
    `Compression`.
    """

    def __init__(self, example_input: Inputs, **options: Any) -> None:
        super().__init__(example_input, options)
        self._average: nn.Module | None = None
        self._followed = False

    @property
    def network(self) -> nn.Module:
        """The average of the weights that were trained, ready for `compressor.shrink` once it is projected."""
        return super().network if self._average is None else self._average

    def add_to(self, model: Model) -> None:
        """Act in the trainings of ``model``."""
        for event in (self.on_train_start, self.on_train_batch_end, self.on_train_epoch_end, self.on_train_end):
            model.add_callback(event.__name__, event)
        model.add_callback("on_model_save", self.on_model_save)

    def on_train_start(self, trainer: BaseTrainer) -> None:
        """Attach, and go on where a checkpoint was saved."""
        if trainer.args.time:
            raise UsageError("a training of so many hours does not say how many steps it will take; give it epochs")
        if trainer.start_epoch:
            self.resume(read_state(trainer.wdir / STATE))
        steps = optimizer_steps(trainer)
        per_epoch, samples = -(-steps // trainer.epochs), samples_of(trainer.train_loader)
        model = unwrap_model(trainer.model)
        self.begin(model, [trainer.optimizer], steps=steps, epoch_steps=per_epoch, samples=samples)
        self._average = trainer.ema.ema if trainer.ema and trainer.ema.enabled else None
        self._followed = False

    def on_train_batch_end(self, trainer: BaseTrainer) -> None:
        """Zero the average once, when the gap is closed: what follows from there on has the same zeros."""
        splitting = self.splitting
        if isinstance(splitting, Splitting) and splitting.schedule.closed(splitting.step) and not self._followed:
            self._followed = True
            if self._average is not None:
                splitting.zero(self._average)

    def on_train_epoch_end(self, trainer: BaseTrainer) -> None:
        """After the last epoch project, before Ultralytics validates and saves, and re-estimate BatchNorm."""
        if trainer.epoch + 1 >= trainer.epochs:
            self.end(_images(trainer), self._average)

    def on_model_save(self, trainer: BaseTrainer) -> None:
        """Keep the state of the splitting beside the checkpoint."""
        write_state(trainer.wdir / STATE, self.state())

    def on_train_end(self, trainer: BaseTrainer) -> None:
        """Project a training that was stopped early; let all of the average go that was trained."""
        if not self.ended:
            self.end(_images(trainer), self._average)
        trained = zip(self.splitting.model.parameters(), self.network.parameters(), strict=True)
        for parameter, averaged in trained:
            averaged.requires_grad_(parameter.requires_grad)  # frozen weights stay in a network


def optimizer_steps(trainer: BaseTrainer) -> int:
    """How many steps the optimiser will take: in the warm-up more and more batches are accumulated for one."""
    batches, nominal = len(trainer.train_loader), trainer.accumulate
    warm_up, accumulated = trainer._get_warmup_iterations(batches), nominal
    steps, last = 0, -1
    for batch in range(batches * trainer.epochs):
        if warm_up and batch <= warm_up:
            accumulated = max(1, int(np.interp(batch, [0, warm_up], [1, nominal]).round()))
        if batch - last >= accumulated:
            steps, last = steps + 1, batch
    return steps


def _images(trainer: BaseTrainer) -> Iterator[Tensor]:
    with torch.no_grad():
        for batch in trainer.train_loader:
            yield trainer.preprocess_batch(batch)["img"]
