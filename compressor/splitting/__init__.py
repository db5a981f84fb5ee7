"""Fine-tune with a nonconvex sparse group lasso by variable splitting, in anybody's training loop.

With W the trained weights, V and U auxiliary copies, and g the channel groups::

    F(W, V, U) = loss(W) + lambda_V r(V) + sum_g lambda_g [U_g != 0] + beta/2 |W - V|^2 + beta/2 |W - U|^2

V and U are exact proxes of W, so they are never stored. After every step of the user's optimiser W is
pulled towards them by the implicit step W <- W + k (U - W), k = lr beta / (1 + lr beta), stable for
every beta and untouched by momentum or Adam's scaling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.alignment import Alignment
from compressor.costs import cost_model
from compressor.errors import TargetNotMet, UsageError
from compressor.groups import ChannelGroup, find_groups, is_zero, zero
from compressor.groups.graph import PRODUCERS
from compressor.penalties import penalty as build_penalty
from compressor.splitting.budget import Budget, Target
from compressor.splitting.elementwise import Elementwise
from compressor.splitting.grouped import GroupL0
from compressor.splitting.projection import Projection
from compressor.splitting.saliency import saliency
from compressor.splitting.schedule import Schedule

__all__ = ["Alignment", "Projection", "Splitting", "Target"]


class Splitting:
    """Drives whole channels of ``model`` to zero while the user trains it.

    ``penalty`` names the elementwise r (`compressor.penalties`) or is "none"; ``strength`` is its
    threshold lambda_V/beta at the start, in units of each layer's RMS (0.1 by default). At most one
    of ``target_macs`` and ``target_params`` asks for a share of the dense network in (0, 1]; without
    one no channel is penalised. ``total_steps`` is the number of optimiser steps until `project`.
    `TargetNotMet` is raised at once when the target cannot be reached.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        *,
        total_steps: int,
        penalty: str = "none",
        strength: float | None = None,
        target_macs: float | None = None,
        target_params: float | None = None,
        beta: tuple[float, float] = (1.0, 1000.0),
        align: str | int = "auto",
        groups: Sequence[ChannelGroup] | None = None,
    ) -> None:
        self.model = model
        self.step = 0
        self.schedule = Schedule(total_steps=total_steps, beta_start=beta[0], beta_end=beta[1])
        self.target = target_of(target_macs, target_params)
        self._elementwise = _elementwise(model, penalty, strength, beta[0])
        self.groups: tuple[ChannelGroup, ...] = ()
        self._grouped: list[GroupL0] = []
        if self.target is not None:
            self._penalise_groups(example_input, self.target, groups, Alignment.parse(align))

    def _penalise_groups(
        self, example: Tensor, target: Target, groups: Sequence[ChannelGroup] | None, align: Alignment
    ) -> None:
        found = find_groups(self.model, example) if groups is None else groups
        self.groups = tuple(group for group in found if group.prunable)
        if not self.groups:
            why = "; ".join(f"{group.name}: {group.excluded}" for group in found) or "it has no convolution or linear"
            raise TargetNotMet(f"no channel of this network can be removed ({why})")
        self.macs = cost_model(self.model, example, self.groups, "macs")
        self.parameters = cost_model(self.model, example, self.groups, "params")
        cost = self.macs if target.kind == "macs" else self.parameters
        self._alignment = align
        self._budget = Budget(cost, align)
        self._budget.check(target)
        self._saved = cost.saved_per_channel() / cost.total()
        self._grouped = [GroupL0(self.model, group) for group in self.groups]
        self.kept = [group.channels for group in self.groups]

    def attach(self, optimizer: Optimizer) -> RemovableHandle:
        """Pull after every ``optimizer.step()``; the handle's ``remove`` ends it."""
        held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        parts: list[GroupL0 | Elementwise] = [*self._grouped, *self._elementwise]
        penalised = {parameter for part in parts for parameter in part.parameters}
        if not penalised:
            raise UsageError("this splitting penalises nothing; give it a penalty, target_macs or target_params")
        if not penalised & held:
            raise UsageError("the optimizer holds none of the model's parameters; attach the one that trains it")

        def after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            # Read anew: schedulers change the rates, and loading a state replaces the groups.
            self.pull({p: float(group["lr"]) for group in optimizer.param_groups for p in group["params"]})

        return optimizer.register_step_post_hook(after_step)

    @torch.no_grad()
    def pull(self, learning_rate: dict[Tensor, float]) -> None:
        """Move W towards U and V once; `attach` calls this after every optimiser step."""
        if self.schedule.revises(self.step):
            self.revise()
        beta = self.beta
        share = {p: lr * beta / (1 + lr * beta) for p, lr in learning_rate.items()}
        for part in self._grouped:
            part.pull(share)
        for entries in self._elementwise:
            entries.pull(share, beta)
        self.step += 1

    def revise(self) -> None:
        """Choose the survivors anew from the weights as they are; needed only when they were set from outside."""
        if self._grouped and self.target is not None:
            self._select(self.schedule.budget(self.step, self.target.ratio))

    def _select(self, ratio: float) -> None:
        """Choose the surviving channels for a budget and freeze the group thresholds that keep them."""
        scores = [
            saliency(self.model, group) / saved**0.5
            for group, saved in zip(self.groups, self._saved.clip(1e-12), strict=True)
        ]
        self.kept = self._budget.allocate(scores, ratio)
        for part, score, kept in zip(self._grouped, scores, self.kept, strict=True):
            part.keep_best(score, kept)

    @property
    def beta(self) -> float:
        """The weight of the splitting term now."""
        return self.schedule.beta(self.step)

    @property
    def macs_kept(self) -> float | None:
        """Share of the dense MACs that the selected channels keep; None when no channel is penalised."""
        return self.macs.total(self.kept) / self.macs.total() if self.groups else None

    @torch.no_grad()
    def gap(self) -> float:
        """Distance of W from its projection: |W - P(W)| / |W| over all penalised weights."""
        beta = self.beta
        parts = [*(part.gap() for part in self._grouped), *(e.gap(beta) for e in self._elementwise)]
        if not parts:
            return 0.0
        lost, all_ = (torch.stack([part[i].double() for part in parts]).sum() for i in (0, 1))
        return float((lost / all_.clamp_min(1e-300)).sqrt())

    @torch.no_grad()
    def project(self) -> Projection:
        """Set W to zero where U or V is; survivors keep W. Channels become exactly zero."""
        if self._grouped and self.target is not None:
            self._select(self.target.ratio)
        gap, beta = self.gap(), self.beta
        entries = sum(part.project(beta) for part in self._elementwise)
        for group, part in zip(self.groups, self._grouped, strict=True):
            zero(self.model, group, part.dropped())
        # The penalties may have emptied further channels; what counts is what `shrink` will keep.
        alive = [group.channels - int(is_zero(self.model, group).sum()) for group in self.groups]
        self.kept = [self._alignment.up(n, group.channels) for n, group in zip(alive, self.groups, strict=True)]
        return Projection(
            gap=gap,
            entries_zeroed=entries,
            channels={group.name: group.channels for group in self.groups},
            kept={group.name: kept for group, kept in zip(self.groups, self.kept, strict=True)} if self.groups else {},
            macs=(self.macs.total(), self.macs.total(self.kept)) if self.groups else None,
            parameters=(self.parameters.total(), self.parameters.total(self.kept)) if self.groups else None,
            target=self.target,
        )


def target_of(macs: float | None, parameters: float | None) -> Target | None:
    """The one target asked for, if any; `UsageError` when both are, or when it is no share."""
    if macs is not None and parameters is not None:
        raise UsageError("give one of --target-macs and --target-params, not both")
    if macs is not None:
        return Target("macs", macs)
    return Target("params", parameters) if parameters is not None else None


def strength_of(penalty: str, strength: float | None) -> float:
    """The strength asked for, or the default; `UsageError` when it is negative, or not for this penalty."""
    if penalty == "none":
        if strength:
            raise UsageError(f"--strength {strength:g} needs a --penalty; 'none' penalises no single weight")
        return 0.0
    strength = 0.1 if strength is None else strength
    if not 0 <= strength < float("inf"):
        raise UsageError(f"--strength must be a number of at least 0, got {strength:g}")
    return strength


def _elementwise(model: nn.Module, name: str, strength: float | None, beta: float) -> list[Elementwise]:
    strength = strength_of(name, strength)
    if name == "none":
        return []
    built = build_penalty(name)
    weights = [m.weight for m in model.modules() if isinstance(m, PRODUCERS) and m.weight.requires_grad]
    return [Elementwise(weight, built, strength * beta) for weight in dict.fromkeys(weights)]
