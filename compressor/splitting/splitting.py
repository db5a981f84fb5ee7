"""Method budget: a target chooses the channels and the zeros, and the gap is closed by construction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor import penalties
from compressor.alignment import Alignment
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups import ChannelGroup, is_zero, zero
from compressor.penalties import step_of
from compressor.records.costs import Aims
from compressor.records.run import Target as Outcome
from compressor.saliency import DEFAULT
from compressor.splitting.auxiliary import AuxiliaryVariables, in_units, units_of
from compressor.splitting.base import SplittingBase
from compressor.splitting.budget import Choice
from compressor.splitting.config import Arguments, SplittingConfig
from compressor.splitting.optimizers import loss_scale
from compressor.splitting.prunable import zero_useless
from compressor.splitting.schedule import PULL_EVERY, SELECTED, Schedule, implicit_share, prox_step
from compressor.splitting.selection import Selection
from compressor.splitting.zero_target import smallest, surviving, threshold_of_share

# In units of a layer's RMS: no weight of a training that goes well is so large.
DIVERGED = 1e6


class Splitting(SplittingBase):
    """Drives whole channels and single weights of ``model`` to zero while the user trains it.

    ``example_input`` is (batch >= 2, *input_shape), or what one call of the network gets instead, or `Examples`, as in
    `find_groups`; ``total_steps`` the number of optimiser steps until `project`.

    ``target_macs``, ``target_params``, ``target_latency``: the share of the dense network, in (0, 1], that the selected
    channels cost at most; ``target_size``: how many bytes, of the exported file or of it ``compressed``. All that are
    given hold. A latency needs ``aims``, what was measured (`compressor.stages.aim`); a size is estimated without.
    ``target_zeros``: the share of zeros, in (0, 1), among the penalised weights that are left then.
    ``penalty`` and ``penalty_args``: the penalty on single weights (`compressor.penalties.PENALTIES`), and its options.
    ``strength``: how far l1 draws a weight until half time, in units of its layer's RMS now; then the zeros are chosen
    and the other weights are free. Without meaning beside ``target_zeros``, to which lambda follows.
    ``beta``: the weight of the splitting term per training, at the start and when 90 % are done; then it is infinite.
    ``align``: kept channels are rounded up to multiples of it; ``auto`` takes those that the runtime rewards.
    ``keep_blocks``: every residual block keeps some channels; otherwise the target may drop whole blocks.
    ``saliency``: which channels are worth keeping (`compressor.saliency.SALIENCIES`), by default what the gradients of
    the training say; ``seed`` is for a drawn one. One that needs a pass of its own gets it by `calibrate`.
    ``layers``: `fnmatch` patterns of the layers that are penalised, all by default. ``groups`` saves finding them.

    Raises `TargetNotMet` at once when a target cannot be reached, `UsageError` for a wrong option.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        example_input: Inputs,
        *,
        total_steps: int,
        penalty: str | None = None,
        penalty_args: Arguments | None = None,
        strength: float | None = None,
        target_macs: float | None = None,
        target_params: float | None = None,
        target_latency: float | None = None,
        target_size: float | None = None,
        compressed: bool = False,
        aims: Aims | None = None,
        target_zeros: float | None = None,
        beta: tuple[float, float] | None = None,
        align: str | int = "auto",
        keep_blocks: bool = False,
        saliency: str | None = None,
        seed: int = 0,
        layers: Sequence[str] = (),
        groups: Sequence[ChannelGroup] | None = None,
    ) -> None:
        config = SplittingConfig(
            penalty=penalty,
            penalty_args=penalty_args or {},
            strength=strength,
            target_macs=target_macs,
            target_params=target_params,
            target_latency=target_latency,
            target_size=target_size,
            compressed=compressed,
            target_zeros=target_zeros,
            beta=beta,
            align=align,
            keep_blocks=keep_blocks,
            saliency=saliency,
            layers=tuple(layers),
        )
        start, end = config.beta_range
        self.schedule = Schedule(total_steps=total_steps, beta_start=start, beta_end=end)
        super().__init__(model, example_input, config, total_steps, groups)
        self._selection = self._selected(aims, seed) if config.targets else None
        self._observed = -1  # at which step
        # It acts until the zeros are chosen.
        self._lambda = (config.strength or 0.0) / SELECTED
        self._units: dict[Tensor, float] = {}
        self._auxiliary: AuxiliaryVariables | None = None
        if config.splits_entries:
            self._penalty = penalties.penalty(config.penalty_name, **config.penalty_args)
            self._split(dict(zip(self._weights, units_of(list(self._weights.values())), strict=True)))
        # Which weights are zero from half time on: bool, of each weight's shape.
        self._fixed: list[Tensor] | None = None

    def before_step(self, optimizer: Optimizer) -> None:
        """Look at the gradients, once a step, as long as channels are chosen by them."""
        if self._selection is not None and self._observed < self.step <= self.schedule.last_revision:
            self._observed = self.step
            if self._selection.saliency.observes:
                self._selection.saliency.observe(loss_scale(optimizer))

    @property
    def needs_calibration(self) -> bool:
        """Whether `calibrate` must be called before the training."""
        saliency = None if self._selection is None else self._selection.saliency
        return saliency is not None and saliency.calibrated and not saliency.ready

    def calibrate(self, losses: Iterable[Tensor]) -> None:
        """Let the saliency learn from ``losses`` of single samples: scalars that have their graph, one at a time."""
        if self._selection is not None:
            self._selection.saliency.learn(losses)

    @torch.no_grad()
    def after_step(self) -> None:
        """Count an optimiser step; choose, pull and close when it is time."""
        if self.needs_calibration:
            raise UsageError(
                f"--saliency {self.config.saliency} needs a pass of its own: call calibrate(losses of single samples) "
                "before the training"
            )
        if self.schedule.revises(self.step):
            self.revise()
            self._choose_zeros()
        self.step += 1
        span = self.schedule.span(self.step)
        if span:
            self.pull(span)
            if self.step == self.schedule.closing_step:
                self._close()

    @torch.no_grad()
    def pull(self, span: float) -> None:
        """An implicit step of length ``span``, a share of the training: W <- W + k (U - W), after the same for V."""
        share = implicit_share(span, self.beta)
        if self._fixed is not None:
            for weight, zeros in zip(self._weights.values(), self._fixed_here(), strict=True):
                # Not a product with the mask: that of an infinite weight and zero is no number.
                weight.copy_(torch.where(zeros, weight * (1 - share), weight))
        elif self._auxiliary is not None:
            self._auxiliary.pull(share, prox_step(span, self.beta, self._lambda))
        if self._selection is not None:
            self._selection.channels.pull(share)

    def revise(self) -> None:
        """Choose the survivors anew from the weights as they are; needed only when they were set from outside."""
        if self._selection is not None:
            self._selection.select(partial(self.schedule.budget, self.step))

    @property
    def beta(self) -> float:
        """The weight of the splitting term now, per training; inf once the gap is closed."""
        return self.schedule.beta(self.step)

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The channel groups that the target chooses from."""
        return self.prunable.groups if self._selection is not None else ()

    @property
    def kept(self) -> list[int]:
        """How many channels of each group are selected to survive."""
        return list(self._selection.kept) if self._selection is not None else []

    @property
    def macs_kept(self) -> float | None:
        """Share of the dense MACs that the selected channels keep; None when no channel is selected."""
        if self._selection is None:
            return None
        return self.prunable.macs.total(self.kept) / self.prunable.macs.total()

    def state_dict(self) -> dict[str, Any]:
        """Step, selection, the layers' units, lambda and the zeros that are fixed, and what they belong to."""
        selection, names = self._selection, list(self._weights)
        return {
            **self._identity(),
            "step": self.step,
            "kept": self.kept,
            "saliency": selection.saliency.state_dict() if selection is not None else {},
            "worth": (selection.choice.value, selection.choice.bound) if selection is not None else (),
            "dropped": selection.channels.dropped() if selection is not None else [],
            "units": {name: self._units[self._weights[name]] for name in names} if self._units else {},
            "lambda": self._lambda,
            "fixed": None if self._fixed is None else [zeros.clone() for zeros in self._fixed],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; `UsageError` for a state of another splitting."""
        self._check_state(state)
        shapes = [weight.shape for weight in self._weights.values()]
        if state["fixed"] is not None and [zeros.shape for zeros in state["fixed"]] != shapes:
            raise UsageError(
                "the state belongs to another splitting: its fixed zeros have other shapes than the weights"
            )
        self.step, self._lambda = state["step"], state["lambda"]
        self._observed = self.step - 1
        if self._selection is not None:
            self._selection.saliency.load_state_dict(state["saliency"])
            self._selection.choice = Choice(list(state["kept"]), *state["worth"])
            self._selection.channels.set(state["dropped"])
        if self._auxiliary is not None:
            self._split(state["units"])
        self._fixed = None if state["fixed"] is None else [zeros.clone() for zeros in state["fixed"]]

    def _selected(self, aims: Aims | None, seed: int) -> Selection:
        config = self.config
        return Selection(
            self.prunable,
            config.targets,
            Alignment.parse(config.align),
            aims,
            keep_blocks=config.keep_blocks,
            worth=config.saliency or DEFAULT,
            seed=seed,
        )

    def _split(self, units: Mapping[str, float]) -> None:
        self._units = {weight: units[name] for name, weight in self._weights.items()}
        prox = partial(in_units, self._penalty, self._units)
        self._auxiliary = AuxiliaryVariables(list(self._weights.values()), prox)

    def _choose_zeros(self) -> None:
        """Let lambda follow a target of zeros; with the last revision the zeros of V bind, as the selection does."""
        if self._auxiliary is None:
            return
        if self.config.target_zeros is not None:
            share = self.schedule.zeros(self.step, self.config.target_zeros)
            threshold = threshold_of_share(list(self._weights.values()), self._left(), self._units, share)
            # Weights that diverge are for the training to undo.
            if threshold < DIVERGED:
                self._lambda = step_of(self._penalty, threshold) / prox_step(self._span, self.beta, 1.0)
        if self.step == self.schedule.last_revision:
            self._fix()

    def _fix(self) -> None:
        """Choose which weights are zero from now on: those that a target asks for, or the zeros of V."""
        weights = list(self._weights.values())
        if self.config.target_zeros is not None:
            self._fixed = smallest(weights, self._left(), self._units, self.config.target_zeros)
        elif self._auxiliary is not None:
            step = prox_step(self._span, self.beta, self._lambda)
            self._fixed = [v == 0 for _, v in self._auxiliary.targets(step)]

    def _close(self) -> None:
        """Once, when W has become its projection: drop the channels that the zeros have emptied."""
        if self._auxiliary is not None and self._selection is not None and zero_useless(self.model, self.groups):
            dropped = self._selection.channels.dropped()
            self._selection.channels.set(
                [gone | is_zero(self.model, group) for gone, group in zip(dropped, self.groups, strict=True)]
            )

    def _catch_up(self) -> None:
        if self.step <= self.schedule.last_revision:
            if self._selection is not None:
                self._selection.select()
            if self.config.target_zeros is not None:
                self._fix()

    @property
    def _span(self) -> float:
        """The share of the training between two pulls."""
        return PULL_EVERY / self.total_steps

    def _left(self) -> list[Tensor]:
        dropped = self._selection.channels.dropped() if self._selection is not None else []
        return surviving(self.model, list(self._weights.values()), self.groups, dropped)

    def _v(self) -> list[Tensor]:
        if self._auxiliary is None:
            return []
        if self._fixed is not None:
            pairs = zip(self._weights.values(), self._fixed_here(), strict=True)
            return [weight.masked_fill(zeros, 0.0) for weight, zeros in pairs]
        return [v for _, v in self._auxiliary.targets(prox_step(0.0, self.beta, self._lambda))]

    def _fixed_here(self) -> list[Tensor]:
        """The zeros on the devices of the weights, to which the user may have moved them since."""
        pairs = zip(self._weights.values(), self._fixed or [], strict=True)
        self._fixed = [zeros.to(weight.device) for weight, zeros in pairs]
        return self._fixed

    def _moved(self) -> list[Tensor]:
        channels = self._selection.channels.parameters if self._selection is not None else []
        return list(dict.fromkeys([*channels, *(self._weights.values() if self._auxiliary is not None else ())]))

    def _zero(self, model: nn.Module) -> int:
        entries = self.mask(model)
        if self._selection is not None:
            for group, gone in zip(self.groups, self._selection.channels.dropped(), strict=True):
                zero(model, group, gone)
            if self._auxiliary is not None:
                zero_useless(model, self.groups)
        return entries

    def _outcomes(self, kept: Sequence[int]) -> list[Outcome]:
        return self._selection.outcomes(kept) if self._selection is not None else []

    def _optimality(self) -> float | None:
        return self._selection.choice.optimality if self._selection is not None else None

    def _dropped(self) -> int:
        return sum(group.channels - kept for group, kept in zip(self.groups, self.kept, strict=True))
