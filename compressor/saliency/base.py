"""What every saliency does: it says what each channel is worth, larger being kept first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from compressor.groups import ChannelGroup
from compressor.ranks import Ranks


class Saliency(ABC):
    """Of the channels of ``groups`` in ``model``, whose weights may change; ``seed`` is for what is drawn."""

    # A channel counts in a budget as its saliency times its share of the cost to this power. What is only comparable
    # within a layer needs the root of the cost, by which layers come out evenly; a change of the loss needs nothing.
    exponent = 0.5
    # Whether `observe` wants the gradients of training steps, and whether `learn` must be called before the first.
    observes = False
    calibrated = False

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], seed: int = 0) -> None:
        self.model, self.groups, self.seed = model, tuple(groups), seed

    @property
    def ready(self) -> bool:
        """Whether it knows enough; until then the weights decide."""
        return True

    @abstractmethod
    def values(self) -> list[Tensor]:
        """What the channels are worth now: one (channels,) float32 tensor a group, at least 0, on the CPU."""

    def observe(self, scale: float = 1.0) -> None:  # noqa: B027
        """Take in the gradients that the parameters hold, which a GradScaler multiplied by ``scale``."""

    def learn(self, losses: Iterable[Tensor]) -> None:  # noqa: B027
        """Take in the gradients of these losses, scalars with their graph; the weights stay as they are meanwhile."""

    def follow(self) -> None:  # noqa: B027
        """Look at the parameters that the network has now: `fully_shard` puts others in the place of those it had."""

    def pool(self, ranks: Ranks) -> None:  # noqa: B027
        """Bring together what all ``ranks`` have learned."""

    def state_dict(self) -> dict[str, Any]:
        """What was learned: plain data and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Go on where `state_dict` was taken."""


def relative(squared: Tensor) -> Tensor:
    """``squared`` (channels,) with a mean of 1."""
    mean = squared.mean()
    return squared / mean if mean > 0 else squared
