"""How the channels that stay are spread over the layers, by trying.

A saliency adds up what single channels are worth. But what goes from several layers does not add up, and some layers
make up for what goes better than others. So whole groups are made worth more and less, one after the other, and the
networks that follow are tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# By which the logarithm of a group's worth is changed: the next one when the last gains nothing more.
CHANGES = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class Spread:
    """The best of the networks that were ``tried``: by which ``scores`` it is chosen, and its ``loss``.

    ``first`` is the loss of that which the saliency alone chooses.
    """

    scores: list[Tensor]
    first: float
    loss: float
    tried: int


class _Tried:
    """The losses of networks, each tried once."""

    def __init__(self, loss: Callable[[Sequence[int]], float], most: int) -> None:
        self._loss, self._most = loss, most
        self._known: dict[tuple[int, ...], float] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def enough(self) -> bool:
        return len(self._known) >= self._most

    def loss(self, kept: Sequence[int]) -> float:
        """Infinite for what is no number, and for what would be one too many."""
        key = tuple(map(int, kept))
        if key not in self._known:
            if self.enough:
                return math.inf
            found = self._loss(key)
            self._known[key] = found if math.isfinite(found) else math.inf
        return self._known[key]


def spread(
    scores: Sequence[Tensor],
    parts: Sequence[Sequence[int]],
    choose: Callable[[Sequence[Tensor]], Sequence[int]],
    loss: Callable[[Sequence[int]], float],
    *,
    most: int,
    seed: int = 0,
) -> Spread:
    """Search for the factors of whole groups with which ``choose`` finds the network that loses least.

    ``scores`` holds a (channels,) tensor a group; ``choose`` turns such scores into how many channels each group keeps,
    ``loss`` says what the network with so many loses. ``parts`` are the places of groups that get one factor together;
    ``seed`` draws their order. At most ``most`` networks are tried, none of them twice: a search by coordinates.
    """
    tried, generator = _Tried(loss, most), torch.Generator().manual_seed(seed)
    factors = [0.0] * len(scores)
    best = first = tried.loss(choose(scores))
    for change in CHANGES:
        better = True
        while better and not tried.enough:
            better = False
            for part in torch.randperm(len(parts), generator=generator).tolist():
                for sign in (1, -1):
                    other = [f + sign * change * (place in parts[part]) for place, f in enumerate(factors)]
                    found = tried.loss(choose(_scaled(scores, other)))
                    if found < best:
                        best, factors, better = found, other, True
    return Spread(_scaled(scores, factors), first, best, len(tried))


def _scaled(scores: Sequence[Tensor], logarithms: Sequence[float]) -> list[Tensor]:
    return [score * math.exp(factor) for score, factor in zip(scores, logarithms, strict=True)]
