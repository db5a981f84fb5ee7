"""What every callback does, whichever trainer calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from torch import nn
from torch.optim import Optimizer

from compressor.equivalence import Inputs, each
from compressor.errors import CompressorError, UsageError
from compressor.inputs import batch_of
from compressor.records.stages import Projection
from compressor.splitting import SplittingConfig, build_splitting
from compressor.splitting.base import SplittingBase
from compressor.splitting.optimizers import Handle
from compressor.training.batchnorm import SAMPLES, reestimate_together


class Compression:
    """A splitting from the first step of a training to its projection.

    ``example_input`` is as in `Splitting`, ``options`` are those of `SplittingConfig`: ``target_macs=0.5``,
    ``penalty="l1-l2"``, ``method="slimming"`` and so on. `UsageError` for one that is wrong, or for a saliency that
    needs a pass of its own.
    """

    def __init__(self, example_input: Inputs, options: Mapping[str, Any]) -> None:
        self.example_input, self.config = example_input, SplittingConfig(**options)
        self._splitting: SplittingBase | None = None
        self._projection: Projection | None = None
        self._state: Mapping[str, Any] | None = None
        self._handle: Handle | None = None

    @property
    def splitting(self) -> SplittingBase:
        """What acts in the training; `CompressorError` before it began."""
        if self._splitting is None:
            raise CompressorError("the training has not begun: the trainer did not call this callback")
        return self._splitting

    @property
    def network(self) -> nn.Module:
        """The network that was trained, ready for `compressor.shrink` once it is projected."""
        return self.splitting.model

    @property
    def projection(self) -> Projection:
        """What the projection at the end found; `CompressorError` before it."""
        if self._projection is None:
            raise CompressorError("the training has not ended: nothing is projected yet")
        return self._projection

    @property
    def ended(self) -> bool:
        """Whether the training was projected."""
        return self._projection is not None

    def state(self) -> dict[str, Any]:
        """What the next step reads; empty before the training."""
        return {} if self._splitting is None else self._splitting.state_dict()

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from there when the training begins."""
        self._state = state

    def begin(
        self, model: nn.Module, optimizers: Sequence[Optimizer], *, steps: float, epoch_steps: float, samples: int
    ) -> None:
        """Attach to ``optimizers``, which will take so many ``steps``, in an epoch of so many ``samples`` that many."""
        if not 1 <= steps < float("inf"):
            raise UsageError(
                "the trainer does not say how many steps it will take, so that the gap could not be closed by then; "
                "limit its steps or epochs"
            )
        device = next(model.parameters()).device
        self._splitting = build_splitting(
            model,
            each(self.example_input, lambda tensor: tensor.to(device)),
            self.config,
            total_steps=int(steps),
            epoch_steps=int(min(steps, epoch_steps)),
            samples=samples,
        )
        if getattr(self._splitting, "needs_calibration", False):
            raise UsageError(f"--saliency {self.config.saliency} needs a pass of its own, which a callback cannot make")
        if self._state:
            self._splitting.load_state_dict(self._state)
        self._state, self._projection = None, None
        self._handle = self._splitting.attach(*optimizers)

    def end(self, inputs: Iterable[Inputs], model: nn.Module | None = None) -> None:
        """Project, and re-estimate BatchNorm on some of the ``inputs``; ``model`` is as in `Splitting.project`."""
        if self._handle is not None:
            self._handle.remove()
        self._projection = self.splitting.project(model)
        reestimate_together(model or self.network, _some(inputs), self.splitting.ranks)


def samples_of(loader: object) -> int:
    """How many samples a loader's data set has; 0 when it does not say."""
    data = getattr(loader, "dataset", None)
    return len(data) if isinstance(data, Sized) else 0


def first_of(batch: Any) -> Inputs:
    """What the network gets of a batch: the first of several parts, or all of it."""
    return batch[0] if isinstance(batch, list | tuple) else batch


def _some(inputs: Iterable[Inputs]) -> Iterator[Inputs]:
    """As many as have enough samples for stable means and variances."""
    seen = 0
    for part in inputs:
        yield part
        seen += batch_of(part) or 1
        if seen >= SAMPLES:
            return
