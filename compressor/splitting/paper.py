"""The papers' methods: penalties on the papers' own groups and on single weights, each in its own way."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor import penalties
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups import ChannelGroup
from compressor.penalties import GROUP_PENALTIES, Penalty, Subgradient
from compressor.penalties.cges import Cges
from compressor.penalties.group import GroupLasso, NormPenalty
from compressor.penalties.scaled import Scaled
from compressor.registry import resolve
from compressor.splitting.agreement import check_state
from compressor.splitting.auxiliary import AuxiliaryVariables, absolute
from compressor.splitting.base import TOLERANCE, SplittingBase
from compressor.splitting.config import Arguments, SplittingConfig
from compressor.splitting.optimizers import loss_scale
from compressor.splitting.paper_groups import GroupSubgradient, prox_of_rows
from compressor.splitting.prunable import zero_dead_rows, zero_useless
from compressor.splitting.schedule import at_least_1

# Where beta ends that grows by jumps.
LARGEST_BETA = 1e30


class PaperSplitting(SplittingBase):
    """Drives the papers' groups and single weights of ``model`` to zero while the user trains it.

    ``method`` is paper (Bui, Park, Zhang, Qi and Xin 2021), rvsm (Dinh and Xin; Xue and Xin) or rgsm (Yang et al.
    2019); `compressor.methods` says what they do and their defaults. ``example_input`` is as in `Splitting`,
    ``total_steps`` the number of optimiser steps until `project`, ``epoch_steps`` that of an epoch, at the ends of
    which beta grows or V takes over, ``samples`` the number of training samples, by which method paper divides.

    ``penalty``, ``penalty_args``, ``strength``: the penalty on single weights, its options and its lambda.
    ``group_penalty``, ``group_penalty_args``, ``group_strength``: the same of the papers' groups. ``beta``: the weight
    of the splitting term, ``growth`` (factor, epochs) its growth in method paper. ``align`` and ``layers`` are as in
    `Splitting`. Lambdas and beta are absolute, against the mean loss.

    Raises `UsageError` for a wrong option.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Inputs,
        *,
        method: Literal["paper", "rvsm", "rgsm"],
        total_steps: int,
        epoch_steps: int,
        samples: int | None = None,
        penalty: str | None = None,
        penalty_args: Arguments | None = None,
        strength: float | None = None,
        group_penalty: str | None = None,
        group_penalty_args: Arguments | None = None,
        group_strength: float | None = None,
        beta: float | None = None,
        growth: tuple[float, int] | None = None,
        align: str | int = "auto",
        layers: Sequence[str] = (),
        groups: Sequence[ChannelGroup] | None = None,
    ) -> None:
        config = SplittingConfig(
            method=method,
            penalty=penalty,
            penalty_args=penalty_args or {},
            strength=strength,
            group_penalty=group_penalty,
            group_penalty_args=group_penalty_args or {},
            group_strength=group_strength,
            beta=None if beta is None else (beta, beta),
            growth=growth,
            align=align,
            layers=tuple(layers),
        )
        self.method = config.described
        if self.method.target or self.method.scales:
            home = "Splitting" if self.method.target else "Slimming"
            raise UsageError(f"method {method} is that of {home}; PaperSplitting has paper, rvsm and rgsm")
        self._epoch_steps = at_least_1(method, "epoch_steps", epoch_steps)
        self._samples = at_least_1(method, "samples", samples) if self.method.per_sample else 1
        at_least_1(method, "total_steps", total_steps)
        super().__init__(model, example_input, config, total_steps, groups)
        self._auxiliary = _auxiliary(list(self._weights.values()), config)
        self._subgradient = _subgradient(list(self._weights.values()), config)
        # The step at which V took over: until the next W is V already, and the prox of V would not be V.
        self._taken_over = 0

    @property
    def adds_to_gradients(self) -> bool:  # type: ignore[override]
        """Whether `before_step` adds to the gradients: that of rvsm only pulls."""
        return self._subgradient is not None or self.method.pull == "gradient"

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        """Add to the gradients of what ``optimizer`` trains, or pull it."""
        rates = {p: float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
        # Against the mean loss, a penalty on the sum of the losses weighs 1/N.
        scale = loss_scale(optimizer) / self._samples
        if self._subgradient is not None:
            self._subgradient.add_gradient(scale, rates)
        if self._auxiliary is None:
            return
        if self.method.pull == "gradient":
            for weight, v in zip(self._weights.values(), self._prox(), strict=True):
                if weight in rates and weight.grad is not None:
                    weight.grad.add_(weight - v, alpha=scale * self.beta)
        else:
            self._auxiliary.pull(lambda weight: rates.get(weight, 0.0) * self.beta, self._step_of_prox)

    @torch.no_grad()
    def after_step(self) -> None:
        """Count an optimiser step; at the end of an epoch V takes over, where the method says so."""
        self.step += 1
        if self.method.takes_over and self.step % self._epoch_steps == 0:
            for weight, v in zip(self._weights.values(), self._prox(), strict=False):
                weight.copy_(v)
            self._taken_over = self.step

    @property
    def beta(self) -> float:
        """The weight of the splitting term now."""
        factor, epochs = self.config.growth or (1.0, 1)
        growths = self.step // (epochs * self._epoch_steps)
        # Beyond what a float holds beta stays: by then W is V.
        return min(LARGEST_BETA, math.exp(min(700.0, math.log(factor) * growths)) * self.config.beta_range[0])

    def state_dict(self) -> dict[str, Any]:
        """The step, and when V took over last."""
        return {**self.settings(), "step": self.step, "taken_over": self._taken_over}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; `UsageError` for a state of another splitting."""
        check_state(self.settings(), state)
        self.step, self._taken_over = state["step"], state["taken_over"]

    @property
    def _step_of_prox(self) -> float:
        return (self.config.strength or 0.0) / self.beta

    def _prox(self) -> list[Tensor]:
        return [] if self._auxiliary is None else [v for _, v in self._auxiliary.targets(self._step_of_prox)]

    def _v(self) -> list[Tensor]:
        if 0 < self.step == self._taken_over:
            return [weight.clone() for weight in self._weights.values()] if self._auxiliary is not None else []
        return self._prox()

    def _moved(self) -> list[Tensor]:
        return list(self._weights.values())

    def _zero(self, model: nn.Module) -> int:
        """What V zeroes, then the groups whose mean |w| is at most 1e-5, then every channel that is useless."""
        entries = self.mask(model)
        zero_dead_rows(self._same_in(model), TOLERANCE)
        zero_useless(model, self.prunable.groups)
        return entries

    def settings(self) -> dict[str, Any]:
        """The lengths too."""
        return {**super().settings(), "epoch_steps": self._epoch_steps, "samples": self._samples}


def _auxiliary(weights: list[Tensor], config: SplittingConfig) -> AuxiliaryVariables | None:
    """V, where there is something to split."""
    prox: Callable[[Tensor, float], Tensor]
    if config.described.split_rows is not None:
        grouped = penalties.group_penalty(config.groups_name, **config.group_penalty_args)
        assert isinstance(grouped, NormPenalty)  # checked by the configuration
        prox = prox_of_rows(grouped, config.described.split_rows)
    elif config.splits_entries:
        entries: Penalty = penalties.penalty(config.penalty_name, **config.penalty_args)
        prox = Scaled(entries).prox if entries.knots_at_threshold else entries.prox
    else:
        return None
    return AuxiliaryVariables(weights, partial(absolute, prox))


def _subgradient(weights: list[Tensor], config: SplittingConfig) -> GroupSubgradient | None:
    """The group penalty on W by subgradient, where there is one: the lasso where V carries the group penalty."""
    kind, weighted = config.described.lasso_rows, config.described.weighted_rows
    if kind is None or (config.described.split_rows is None and config.groups_name == "none"):
        return None
    built: list[Subgradient] = []
    for depth, _ in enumerate(weights):
        if config.described.split_rows is not None:
            built.append(GroupLasso())
            continue
        at_depth = resolve("group penalty", GROUP_PENALTIES, config.groups_name).at_depth(depth / len(weights))
        of_layer = penalties.group_penalty(config.groups_name, **{**at_depth, **config.group_penalty_args})
        assert isinstance(of_layer, GroupLasso | Cges)  # checked by the configuration
        built.append(of_layer)
    return GroupSubgradient(weights, built, kind, config.group_strength or 0.0, weighted=weighted)
