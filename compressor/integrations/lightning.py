"""A callback for the Trainer of Lightning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.integrations.compression import Compression, first_of, samples_of

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise UsageError("this callback needs Lightning: pip install 'torch-compressor[lightning]'") from error


class CompressionCallback(Compression, Callback):
    """Compresses the network that a Trainer of Lightning trains.

    ``network`` is the name of the module in the LightningModule, by default all of it; ``inputs`` says what the network
    gets of a batch, by default the first part of it or all. The Trainer's steps are those of its optimisers, so that
    accumulated gradients are one; its checkpoints hold the state of the splitting. ``example_input`` and ``options``
    are as in `Compression`.
    """

    def __init__(
        self,
        example_input: Inputs,
        *,
        network: str = "",
        inputs: Callable[[Any], Inputs] = first_of,
        **options: Any,
    ) -> None:
        super().__init__(example_input, options)
        self._name, self._inputs = network, inputs

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach, now that the optimisers exist."""
        self.begin(
            pl_module.get_submodule(self._name),
            trainer.optimizers,
            steps=trainer.estimated_stepping_batches,
            epoch_steps=-(-trainer.num_training_batches // trainer.accumulate_grad_batches),
            samples=samples_of(trainer.train_dataloader),
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Project, and re-estimate BatchNorm on training data."""
        with trainer.precision_plugin.forward_context():
            self.end(self._batches(trainer))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of the Trainer keeps."""
        return self.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a checkpoint was saved."""
        self.resume(state_dict)

    def _batches(self, trainer: Trainer) -> Iterator[Inputs]:
        for batch in trainer.train_dataloader:
            yield self._inputs(trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch)))
