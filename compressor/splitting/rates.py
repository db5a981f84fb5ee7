"""Learning rates of penalised parameters, over one or more optimiser steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from compressor.splitting.copies import Share

Rates = float | Mapping[Tensor, float]
"""The learning rate of all penalised parameters, or of each; one that is not named is not trained."""


def summed(steps: Sequence[Rates]) -> Rates:
    """The learning rates of several steps together."""
    alike = [rate for rate in steps if isinstance(rate, float)]
    if len(alike) == len(steps):
        return sum(alike)
    named = [rates for rates in steps if not isinstance(rates, float)]
    return {p: sum(alike) + sum(rates.get(p, 0.0) for rates in named) for rates in named for p in rates}


def shares(rates: Rates, share: Callable[[float], float]) -> Share:
    """How far each parameter is pulled, as a function of its learning rate."""
    if isinstance(rates, float):
        return share(rates)
    return {parameter: share(rate) for parameter, rate in rates.items()}
