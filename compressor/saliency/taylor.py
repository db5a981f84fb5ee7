"""The squared first-order change of the loss, averaged over the gradients that training computes anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.groups import ChannelGroup
from compressor.ranks import Ranks
from compressor.saliency.base import Saliency
from compressor.saliency.first_order import FirstOrder

# How many steps the average looks back.
MEMORY = 50


class Taylor(Saliency):
    """Molchanov et al., "Importance estimation for neural network pruning", 2019, eq. 8, by groups.

    It costs the products of weights and gradients of the norms at each step, and no pass of its own.
    """

    exponent = 0.0
    observes = True
    memory: float = MEMORY

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], seed: int = 0) -> None:
        super().__init__(model, groups, seed)
        self._terms, self._steps = FirstOrder(model, groups), 0
        self._mean = torch.zeros(sum(group.channels for group in groups))

    @property
    def ready(self) -> bool:
        """Whether it has seen a gradient."""
        return self._steps > 0

    def observe(self, scale: float = 1.0) -> None:
        """Take in the gradients of a step."""
        self._add([parameter.grad for parameter in self._terms.parameters], scale)

    def learn(self, losses: Iterable[Tensor]) -> None:
        """Take in the gradients of losses of batches."""
        for loss in losses:
            self._add(torch.autograd.grad(loss, self._terms.parameters, allow_unused=True))

    def follow(self) -> None:
        """Look at the parameters that the network has now."""
        self._terms = FirstOrder(self.model, self.groups)

    def pool(self, ranks: Ranks) -> None:
        """The average over what all have seen."""
        every = ranks.of_each((self._steps, self._mean))
        if steps := sum(seen for seen, _ in every):
            self._mean = torch.stack([mean.to(self._mean) * seen for seen, mean in every]).sum(0) / steps
            self._steps = steps

    def values(self) -> list[Tensor]:
        """The averages, relative to that of all channels."""
        return self._terms.split(self._mean / self._mean.mean() if self._mean.any() else self._mean)

    def state_dict(self) -> dict[str, Any]:
        """The average and over how many steps it is."""
        return {"mean": self._mean.clone(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._mean, self._steps = state["mean"].to(self._mean), state["steps"]

    def _add(self, gradients: Sequence[Tensor | None], scale: float = 1.0) -> None:
        squared = (self._terms.terms(gradients) / scale).square_()
        self._steps += 1
        before = self._mean.to(squared.device)
        # A step without a number says nothing, and must not stay in the average.
        self._mean = torch.where(squared.isfinite(), before.lerp(squared, 1 / min(self._steps, self.memory)), before)
