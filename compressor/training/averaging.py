"""The moving average of the weights of a training, which is often better than the last of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from compressor.shards import fill, local


class WeightAverage:
    """Of the trainable parameters of ``model``, over about 1 / (1 - ``decay``) steps and at most a tenth of all.

    A weight that is exactly zero in the network is zero in the average too: what is pruned does not come back.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._average = [parameter.detach().clone() for parameter in self._parameters]
        self._decay, self._steps = decay, 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self._steps += 1
        # Without the growth what came first would count for longer than all that came after it.
        decay = min(self._decay, self._steps / (10 + self._steps))
        # Asked for each time: the first pass may put the rows of a rank elsewhere.
        average, parameters = [*map(local, self._average)], [*map(local, self._parameters)]
        torch._foreach_lerp_(average, parameters, 1 - decay)
        # 1, or 0 where the weight is, without a call for every tensor.
        torch._foreach_mul_(average, torch._foreach_abs(torch._foreach_sign(parameters)))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The network has the average as its weights for a while."""
        own = [parameter.detach().clone() for parameter in self._parameters]
        self.adopt()
        try:
            yield
        finally:
            _copy(own, self._parameters)

    def adopt(self) -> None:
        """Make the average the weights of the network."""
        _copy(self._average, self._parameters)

    def state_dict(self) -> dict[str, Any]:
        """The average, and over how many steps it is."""
        return {"average": [tensor.clone() for tensor in self._average], "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        _copy(state["average"], self._average)
        self._steps = state["steps"]


def _copy(source: Sequence[Tensor], target: Sequence[Tensor]) -> None:
    for given, taken in zip(source, target, strict=True):
        fill(taken, given)
