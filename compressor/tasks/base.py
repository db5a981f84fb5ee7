"""The methods of a task, those that most tasks share already there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from compressor.errors import DataError
from compressor.inputs import call
from compressor.structures import tensors
from compressor.tasks.scores import Hits, Scores

Found = Mapping[str, float | Hits | Scores]


class Task:
    """What a network is trained for. Derive from it, and write ``loss``, ``metrics`` and ``primary``.

    A batch is whatever the data give: the other methods alone look into it.
    """

    primary: str = ""
    """The metric that counts: by it networks are compared and limits are set."""
    larger_is_better: bool = True
    unit: str = ""
    """Of the primary metric; "share" for one that lies in [0, 1] and is shown in percent."""

    def inputs(self, batch: Any) -> Any:
        """What the network is called with: a tuple holds positional arguments, a dict those by name.

        By default the first part of the batch, or all of it where it is one tensor.
        """
        if isinstance(batch, Tensor):
            return batch
        if isinstance(batch, list | tuple) and batch:
            return batch[0]
        raise DataError(f"a batch is a {type(batch).__name__}; a task of your own says by inputs() what to take of it")

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of ``model``, in whatever mode it is, on a batch: a tensor without axes, with a gradient."""
        raise NotImplementedError

    def metrics(self, model: nn.Module, batches: Iterable[Any]) -> Found:
        """How well ``model`` does on ``batches``, by name: numbers, or `Hits` or `Scores`, which have intervals.

        Without gradients and in evaluation mode; ``model`` may be an exported file that is called like the network.
        """
        raise NotImplementedError

    def outputs(self, model: nn.Module, batch: Any) -> Any:
        """What a network says of a batch, by which it is compared with another: any structure of tensors."""
        return call(model, self.inputs(batch))

    def match(self, outputs: Any, wanted: Any) -> Tensor:
        """How far ``outputs`` are from those of a teacher, a mean with a gradient: beside the loss in distillation.

        By default the mean squared error of every floating-point tensor, relative to the mean square of what is wanted
        where that is above 1: steps that suit small outputs would be too long for large ones.
        """
        errors = [(one - other).square().mean() / _square(other).clamp_min(1) for one, other in _pairs(outputs, wanted)]
        return torch.stack(errors).mean()

    def distance(self, outputs: Any, wanted: Any) -> Tensor:
        """How far the outputs of a smaller network are from those of the dense one, where such networks are tried.

        By default the squared error relative to the square of what is wanted, the mean over floating-point tensors.
        """
        errors = [(one - other).square().mean() / _square(other) for one, other in _pairs(outputs, wanted)]
        return torch.stack(errors).mean()


def _pairs(outputs: Any, wanted: Any) -> list[tuple[Tensor, Tensor]]:
    """The floating-point tensors of both; `DataError` where they do not belong together."""
    one, other = (
        [tensor.float() for _, tensor in tensors(said) if tensor.is_floating_point()] for said in (outputs, wanted)
    )
    if not one or [tensor.shape for tensor in one] != [tensor.shape for tensor in other]:
        raise DataError("the outputs of two networks have other shapes; the task needs a match() of its own")
    return [*zip(one, other, strict=True)]


def _square(wanted: Tensor) -> Tensor:
    return wanted.square().mean().clamp_min(1e-12)
