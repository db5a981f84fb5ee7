"""V of method budget: the penalty on single weights, its lambda, and the zeros that bind from half time on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from compressor import penalties
from compressor.errors import UsageError
from compressor.penalties import step_of
from compressor.shards import cut, like, local, whole
from compressor.splitting.auxiliary import AuxiliaryVariables, in_units, units_of
from compressor.splitting.config import SplittingConfig
from compressor.splitting.schedule import PULL_EVERY, SELECTED, Schedule, implicit_share, prox_step
from compressor.splitting.zero_target import smallest, threshold_of_share

# In units of a layer's RMS: no weight of a training that goes well is so large.
DIVERGED = 1e6

Left = Callable[[], list[Tensor]]
"""Which of the weights are in channels that survive: bool, of the shape of what this rank holds of each."""


class SingleWeights:
    """The pull of ``weights``, by name, towards V, in units of each tensor's root mean square at the start."""

    def __init__(self, weights: Mapping[str, Tensor], config: SplittingConfig, schedule: Schedule) -> None:
        self._names, self.weights = list(weights), list(weights.values())
        self._target, self._schedule = config.target_zeros, schedule
        self.penalty = penalties.penalty(config.penalty_name, **config.penalty_args)
        # It acts until the zeros are chosen.
        self._lambda = (config.strength or 0.0) / SELECTED
        # Which weights are zero from half time on: bool, of each weight's shape, in shards where that is.
        self.fixed: list[Tensor] | None = None
        self._split(units_of(self.weights))

    def pull(self, step: int, span: float) -> None:
        """An implicit step of length ``span``, a share of the training, towards V or to the zeros that bind."""
        beta = self._schedule.beta(step)
        share = implicit_share(span, beta)
        if self.fixed is None:
            self._auxiliary.pull(share, prox_step(span, beta, self._lambda))
            return
        for weight, zeros in zip(map(local, self.weights), map(local, self._fixed_here()), strict=True):
            # Not a product with the mask: that of an infinite weight and zero is no number.
            weight.copy_(torch.where(zeros, weight * (1 - share), weight))

    def choose(self, step: int, left: Left) -> None:
        """Let lambda follow a target of zeros; with the last revision the zeros of V bind, as the selection does."""
        if self._target is not None:
            share = self._schedule.zeros(step, self._target)
            threshold = threshold_of_share(self.weights, left(), self._units, share)
            # Weights that diverge are for the training to undo.
            if threshold < DIVERGED:
                self._lambda = step_of(self.penalty, threshold) / prox_step(self._span, self._schedule.beta(step), 1.0)
        if step == self._schedule.last_revision:
            self.fix(step, left)

    def fix(self, step: int, left: Left) -> None:
        """Choose which weights are zero from now on: those that a target asks for, or the zeros of V."""
        if self._target is not None:
            found = smallest(self.weights, left(), self._units, self._target)
            self.fixed = [like(zeros, weight) for zeros, weight in zip(found, self.weights, strict=True)]
        else:
            length = prox_step(self._span, self._schedule.beta(step), self._lambda)
            self.fixed = [like(local(v) == 0, weight) for weight, v in self._auxiliary.targets(length)]

    def v(self, step: int) -> list[Tensor]:
        """V of each weight tensor."""
        if self.fixed is not None:
            pairs = zip(self.weights, self._fixed_here(), strict=True)
            return [like(local(weight).masked_fill(local(zeros), 0.0), weight) for weight, zeros in pairs]
        return [v for _, v in self._auxiliary.targets(prox_step(0.0, self._schedule.beta(step), self._lambda))]

    def state_dict(self) -> dict[str, Any]:
        """The units, lambda and the zeros that are fixed; of weights in shards the ranks exchange these."""
        return {
            "units": {name: self._units[weight] for name, weight in zip(self._names, self.weights, strict=True)},
            "lambda": self._lambda,
            # A tuple is one thing for torch.distributed.checkpoint, which cannot load a part that is not there yet.
            "fixed": None if self.fixed is None else tuple(whole(zeros).clone() for zeros in self.fixed),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; `UsageError` for a state of other weights."""
        fixed = state["fixed"]
        if fixed is not None and [zeros.shape for zeros in fixed] != [weight.shape for weight in self.weights]:
            raise UsageError(
                "the state belongs to another splitting: its fixed zeros have other shapes than the weights"
            )
        self._lambda = state["lambda"]
        self._split([state["units"][name] for name in self._names])
        self.fixed = None if fixed is None else self._cut([zeros.clone() for zeros in fixed])

    def follow(self, weights: Sequence[Tensor]) -> None:
        """Go on with ``weights``, which `fully_shard` has put in the place of those that this had."""
        units = list(self._units.values())
        self.weights = list(weights)
        self._split(units)
        self.fixed = None if self.fixed is None else self._cut(self.fixed)

    @property
    def _span(self) -> float:
        """The share of the training between two pulls."""
        return PULL_EVERY / self._schedule.total_steps

    def _split(self, units: list[float]) -> None:
        self._units = dict(zip(self.weights, units, strict=True))
        self._auxiliary = AuxiliaryVariables(self.weights, partial(in_units, self.penalty, self._units))

    def _cut(self, fixed: Sequence[Tensor]) -> list[Tensor]:
        return [cut(zeros, weight) for zeros, weight in zip(fixed, self.weights, strict=True)]

    def _fixed_here(self) -> list[Tensor]:
        """The zeros on the devices of the weights, to which the user may have moved them since."""
        pairs = zip(self.weights, self.fixed or [], strict=True)
        self.fixed = [zeros.to(weight.device) for weight, zeros in pairs]
        return self.fixed
