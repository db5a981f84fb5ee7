"""A pruned network beside the dense one on the test part: what it is worth, and how far its outputs have moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.checkpoints import Network
from compressor.data.feeds import Data, feed_of
from compressor.equivalence import eval_mode
from compressor.records import Metric
from compressor.records.prune import Likeness
from compressor.structures import tensors
from compressor.tasks.base import Task
from compressor.tasks.classification import Classification
from compressor.training.evaluation import device_of, measure, named
from compressor.user_code import foreign


class Outputs:
    """What the dense network gives on the test part of ``data``, and its ``metric``; None where the task has none."""

    def __init__(self, network: Network, data: Data) -> None:
        self._data, self._normalization = data, network.metadata.normalization
        self._given = [*self._outputs(network.model)]
        self.metric = self._metric(network.model)

    def beside(self, model: nn.Module) -> Likeness:
        """``model`` compared with the dense network."""
        given = [*self._outputs(model)]
        flat, dense = (
            torch.cat([tensor.flatten() for part in parts for tensor in part]) for parts in (given, self._given)
        )
        return Likeness(
            metric=self._metric(model),
            change=float((flat - dense).norm() / dense.norm()),
            agreement=self._agreement(given) if isinstance(self._data.task, Classification) else None,
        )

    def _agreement(self, given: Sequence[Sequence[Tensor]]) -> float:
        """The share of the samples that both put into the same class."""
        classes = (torch.cat([scores.argmax(1) for scores, *_ in parts]) for parts in (given, self._given))
        return float(torch.eq(*classes).float().mean())

    def _metric(self, model: nn.Module) -> Metric | None:
        if type(self._data.task).metrics is Task.metrics:
            return None
        return measure(model, self._data, "test", self._normalization, outcomes=True)

    @torch.no_grad()
    def _outputs(self, model: nn.Module) -> Iterator[list[Tensor]]:
        """The floating-point tensors of each batch, on the CPU."""
        feed = feed_of(self._data, self._normalization)
        with eval_mode(model):
            for batch in feed.part("test", device_of(model)):
                with foreign(f"the outputs of {named(feed.task)} failed"):
                    said: Any = feed.task.outputs(model, batch)
                yield [tensor.cpu() for _, tensor in tensors(said) if tensor.is_floating_point()]
