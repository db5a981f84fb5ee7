"""The step and the projection: what a user attaches to an optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.alignment import Alignment
from compressor.errors import UsageError
from compressor.groups import ChannelGroup
from compressor.penalties import GroupPenalty, group_penalty
from compressor.records import Sparsity
from compressor.splitting.budget import Target
from compressor.splitting.config import SplittingConfig
from compressor.splitting.parts import copies_of, lasso_of, schedule_of, weights_of
from compressor.splitting.projection import Projection
from compressor.splitting.rates import Rates, shares, summed
from compressor.splitting.removable import Removable
from compressor.splitting.rows import sparsity
from compressor.splitting.schedule import PULL_EVERY
from compressor.splitting.selection import Selection

# Below this a weight of W counts as zero, as in the code of Bui et al.
TOLERANCE = 1e-5


class Handle(Protocol):
    """What ends an attachment."""

    def remove(self) -> None:
        """Do nothing more at the optimiser's steps."""


class Splitting:
    """Drives weights and whole channels of ``model`` to zero while the user trains it.

    ``options`` are the fields of `SplittingConfig`: ``penalty``, ``target_macs``, ``method`` and so on.
    ``total_steps`` is the number of optimiser steps until `project`. Methods of the papers also need
    ``epoch_steps``, the optimiser steps of an epoch, and ``samples``, the number of training samples, where they act
    at the end of epochs or divide by the latter. ``groups`` saves finding them again.

    Raises `TargetNotMet` at once when the target cannot be reached, `UsageError` for a wrong option.
    """

    def __init__(
        self,
        model: nn.Module,
        example_input: Tensor,
        *,
        total_steps: int,
        epoch_steps: int | None = None,
        samples: int | None = None,
        groups: Sequence[ChannelGroup] | None = None,
        **options: Any,
    ) -> None:
        self.model = model
        self.step = 0
        self.penalties = SplittingConfig(**options)
        self.method = self.penalties.described
        acts_by_epoch = self.method.takes_over or self.penalties.growth is not None
        self._epoch_steps = self._needed("epoch_steps", epoch_steps) if acts_by_epoch else total_steps
        self.schedule = schedule_of(self.penalties, total_steps, self._epoch_steps)
        # Against the mean loss, a penalty on the sum of the losses weighs 1/N.
        self._scale = 1 / self._needed("samples", samples) if self.method.per_sample else 1.0
        self._weights = weights_of(model, self.penalties)
        self._copies = copies_of(self._weights, self.penalties)
        self._lasso = lasso_of(self._weights, self.penalties)
        self.removable = Removable(model, example_input, groups, self.penalties)
        target = self.penalties.target
        self._selection = self._select(target) if target is not None else None
        self._since: list[Rates] = []
        self._taken_over = 0

    def attach(self, optimizer: Optimizer) -> Handle:
        """Act at every ``optimizer.step()``; the handle's ``remove`` ends it."""
        penalised = self._penalised()
        if not penalised:
            raise UsageError("this splitting penalises nothing; give it a penalty, target_macs or target_params")
        held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
        if not penalised & held:
            raise UsageError("the optimizer holds none of the model's parameters; attach the one that trains it")

        def rates() -> Rates:
            # Read anew: schedulers change the rates, and loading a state replaces the groups.
            found = {float(group["lr"]) for group in optimizer.param_groups}
            if len(found) == 1 and penalised <= held:
                return found.pop()
            return {p: float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}

        after = optimizer.register_step_post_hook(lambda *_: self.after_step(rates()))
        if self.method.pull == "implicit":
            return after
        return _Both(optimizer.register_step_pre_hook(lambda *_: self.before_step(rates())), after)

    @torch.no_grad()
    def before_step(self, rates: Rates) -> None:
        """What the papers' methods do; `attach` calls this before every optimiser step."""
        if self._lasso is not None:
            self._lasso.add_gradient(self._scale)
        if self._copies is not None and self.method.pull == "gradient":
            self._copies.add_gradient(self.beta, self._scale)
        elif self._copies is not None and self.method.pull == "explicit":
            self._copies.pull(shares(rates, lambda rate: rate * self.beta), self.beta)

    @torch.no_grad()
    def after_step(self, rates: Rates) -> None:
        """Count an optimiser step, and pull or let V take over when it is time; `attach` calls this."""
        if self._selection is not None and self.schedule.revises(self.step):
            self.revise()
        self.step += 1
        if self.method.pull == "implicit":
            self._since.append(rates)
            if len(self._since) == PULL_EVERY:
                self.pull(summed(self._since))
                self._since.clear()
        elif self.method.takes_over and self._copies is not None and self.step % self._epoch_steps == 0:
            self._copies.take_over(self.beta)
            self._taken_over = self.step

    @torch.no_grad()
    def pull(self, rates: Rates) -> None:
        """W <- W + k (U - W), after the same for V, with k = rate beta / (1 + rate beta): the step of method budget."""
        share = shares(rates, lambda rate: rate * self.beta / (1 + rate * self.beta))
        if self._copies is not None:
            self._copies.pull(share, self.beta)
        if self._selection is not None:
            self._selection.channels.pull(share)

    def revise(self) -> None:
        """Choose the survivors anew from the weights as they are; needed only when they were set from outside."""
        if self._selection is not None:
            self._selection.select(self.schedule.budget(self.step, self._selection.target.ratio))

    @property
    def beta(self) -> float:
        """The weight of the splitting term now."""
        return self.schedule.beta(self.step)

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups that are penalised: those of method budget with a target."""
        return self.removable.groups if self._selection is not None else ()

    @property
    def kept(self) -> list[int]:
        """How many channels of each group are selected to survive."""
        return list(self._selection.kept) if self._selection is not None else []

    @property
    def macs_kept(self) -> float | None:
        """Share of the dense MACs that the selected channels keep; None when no channel is selected."""
        if self._selection is None:
            return None
        return self.removable.macs.total(self.kept) / self.removable.macs.total()

    @torch.no_grad()
    def gap(self) -> float:
        """Distance of W from its projection: |W - P(W)| / |W| over all weights with a copy."""
        parts = []
        if self._selection is not None:
            parts.append(self._selection.channels.gap())
        if self._copies is not None and not self._has_taken_over:
            parts.append(self._copies.gap(self.beta))
        if not parts:
            return 0.0
        lost, all_ = (torch.stack([part[i].double() for part in parts]).sum() for i in (0, 1))
        return float((lost / all_.clamp_min(1e-300)).sqrt())

    @torch.no_grad()
    def sparsity(self) -> dict[str, Sparsity]:
        """Zeros of W at 1e-5, and exact zeros of V where there is one."""
        kind = self.method.split_rows or "filters"
        found = {f"W at {TOLERANCE:g}": sparsity(self._weights, TOLERANCE, kind)}
        if self._copies is not None:
            copies = self._copies.targets(self.beta)
            found["V"] = sparsity([w if self._has_taken_over else v for w, v in copies], kind=kind)
        return found

    @torch.no_grad()
    def mask(self) -> int:
        """Set single weights to zero where V is, and return how many that were; the other weights stay W.

        In the methods where V takes over they become V.
        """
        zeros = _zeros(self._weights)
        if self._copies is not None and not self.method.takes_over:
            self._copies.project(self.beta)
        elif self._copies is not None and not self._has_taken_over:
            self._copies.take_over(self.beta)
        return _zeros(self._weights) - zeros

    @torch.no_grad()
    def project(self) -> Projection:
        """Make zeros exact: `mask`, and channels where U is zero.

        Methods without a target also zero the groups whose mean |w| is at most 1e-5, then every channel that nothing
        makes or nothing reads.
        """
        if self._selection is not None:
            self._selection.select(self._selection.target.ratio)
        before, gap = self.sparsity(), self.gap()
        entries = self.mask()
        if self._selection is not None:
            self._selection.project()
        elif not self.method.target:
            self.removable.zero_dead(self._weights, TOLERANCE)
        return Projection(
            gap=gap,
            entries_zeroed=entries,
            sparsity=before,
            target=self.penalties.target,
            **self.removable.figures(),
        )

    @property
    def _has_taken_over(self) -> bool:
        """Whether W is V already, at the end of an epoch; the prox of V would not be V."""
        return 0 < self.step == self._taken_over

    def _select(self, target: Target) -> Selection:
        penalty: GroupPenalty = group_penalty(self.penalties.groups_name, **self.penalties.group_penalty_args)
        return Selection(self.removable, target, penalty, Alignment.parse(self.penalties.align))

    def _penalised(self) -> set[Tensor]:
        parts = (self._selection.channels if self._selection is not None else None, self._copies, self._lasso)
        return {parameter for part in parts if part is not None for parameter in part.parameters}

    def _needed(self, name: str, value: int | None) -> int:
        if value is None or value < 1:
            raise UsageError(f"method {self.penalties.method} needs {name}, at least 1, got {value}")
        return value


def _zeros(weights: Sequence[Tensor]) -> int:
    return sum(int((weight == 0).sum()) for weight in weights)


class _Both:
    def __init__(self, *handles: RemovableHandle) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
