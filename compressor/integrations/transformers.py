"""A callback for the Trainer of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.integrations.compression import Compression, samples_of
from compressor.integrations.state_file import read_state, write_state

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise UsageError("this callback needs transformers: pip install 'torch-compressor[transformers]'") from error

STATE = "compression.pt"


class CompressionCallback(Compression, TrainerCallback):
    """Compresses the network that a Trainer of transformers trains.

    ``inputs`` says what the network gets of a batch, by default all but the labels. The Trainer's steps are those of
    its optimiser, so that accumulated gradients are one; beside its checkpoints, in ``compression.pt``, lies the state
    of the splitting. ``example_input`` and ``options`` are as in `Compression`.
    """

    def __init__(self, example_input: Inputs, *, inputs: Callable[[Any], Inputs] | None = None, **options: Any) -> None:
        super().__init__(example_input, options)
        self._inputs = inputs

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        train_dataloader: Any,
        **others: Any,
    ) -> None:
        """Attach, and go on where a checkpoint was saved."""
        if state.global_step:
            self.resume(read_state(_folder(args, state) / STATE))
        per_epoch = -(-state.max_steps // max(1, state.num_train_epochs))
        samples = samples_of(train_dataloader)
        self.begin(model, [optimizer], steps=state.max_steps, epoch_steps=per_epoch, samples=samples)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Keep the state of the splitting beside the Trainer's checkpoint."""
        if state.is_world_process_zero:
            write_state(_saved(args, state) / STATE, self.state())

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        train_dataloader: Any,
        **others: Any,
    ) -> None:
        """Project, and re-estimate BatchNorm on training data."""
        labels = set(args.label_names or ["labels"])

        def fed(batch: Any) -> Inputs:
            return {key: value.to(args.device) for key, value in batch.items() if key not in labels}

        self.end(map(self._inputs or fed, train_dataloader))


def _saved(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    """The checkpoint from which the Trainer goes on, which it does not say."""
    asked = args.resume_from_checkpoint
    return Path(asked) if isinstance(asked, str) and Path(asked).is_dir() else _saved(args, state)
