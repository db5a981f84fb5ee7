"""Method budget: a target chooses the channels and the zeros, and the gap is closed by construction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups import ChannelGroup, is_zero, zero
from compressor.records.costs import Aims
from compressor.records.run import Target as Outcome
from compressor.shards import refuse_shards, reshard
from compressor.splitting.agreement import check_state
from compressor.splitting.base import SplittingBase
from compressor.splitting.config import Arguments, SplittingConfig
from compressor.splitting.optimizers import loss_scale
from compressor.splitting.prunable import zero_useless
from compressor.splitting.schedule import Schedule, implicit_share
from compressor.splitting.selection import Selection
from compressor.splitting.single_weights import SingleWeights
from compressor.splitting.spreading import Spread
from compressor.splitting.zero_target import surviving


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
        select = partial(Selection, self.prunable, config, aims, ranks=self.ranks, seed=seed)
        self._selection = select() if config.targets else None
        self._observed = -1  # at which step
        splits = config.splits_entries
        self._single = SingleWeights(self._weights, config, self.schedule) if splits else None

    def before_step(self, optimizer: Optimizer) -> None:
        """Look at the gradients, once a step, as long as channels are chosen by them."""
        if self._selection is not None and self._observed < self.step <= self.schedule.last_revision:
            self._observed = self.step
            if self._selection.saliency.observes and self.spread is None:
                self._selection.saliency.observe(loss_scale(optimizer))

    @property
    def needs_calibration(self) -> bool:
        """Whether `calibrate` must be called before the training."""
        saliency = None if self._selection is None else self._selection.saliency
        return saliency is not None and saliency.calibrated and not saliency.ready

    @property
    def observes(self) -> bool:
        """Whether channels are chosen by the gradients of the training, of which `calibrate` can show some before."""
        return self._selection is not None and self._selection.saliency.observes

    def calibrate(self, losses: Iterable[Tensor]) -> None:
        """Let the saliency learn from ``losses``, scalars that have their graph, one at a time: of single samples.

        One that `observes` the training learns from those of batches.
        """
        refuse_shards(self.model, "call calibrate before fully_shard")
        if self._selection is not None:
            self._selection.saliency.learn(losses)

    def settle(self, loss: Callable[[Sequence[Tensor]], float], most: int) -> None:
        """Before the training, try at most so many ways to spread the channels over the groups, and keep to the best.

        ``loss`` says what a network loses without the channels of `groups` that it gets: bool (channels,) for each
        group, True where a channel goes. Without a target nothing is tried.
        """
        refuse_shards(self.model, "call settle before fully_shard")
        if self._selection is not None:
            self._selection.settle(loss, most)

    @property
    def selection(self) -> Selection | None:
        """Which channels stay; None without a target."""
        return self._selection

    @property
    def spread(self) -> Spread | None:
        """What `settle` found."""
        return None if self._selection is None else self._selection.spread

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
            if self._single is not None:
                self._single.choose(self.step, self._left)
        self.step += 1
        span = self.schedule.span(self.step)
        if span:
            self.pull(span)
            if self.step == self.schedule.closing_step:
                self._close()

    @torch.no_grad()
    def pull(self, span: float) -> None:
        """An implicit step of length ``span``, a share of the training: W <- W + k (U - W), after the same for V."""
        if self._single is not None:
            self._single.pull(self.step, span)
        if self._selection is not None:
            self._selection.channels.pull(implicit_share(span, self.beta))

    def revise(self) -> None:
        """Choose the survivors anew from the weights as they are; needed only when they were set from outside."""
        reshard(self.model)
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
        """Step, selection, the single weights' V, and what they belong to."""
        parts = [part for part in (self._selection, self._single) if part is not None]
        known = {**self.settings(), "step": self.step}
        return known | {key: value for part in parts for key, value in part.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; `UsageError` for a state of another splitting."""
        check_state(self.settings(), state)
        if self._single is not None:
            self._single.load_state_dict(state)
        if self._selection is not None:
            self._selection.load_state_dict(state)
        self.step = state["step"]
        self._observed = self.step - 1

    def _renew(self) -> None:
        if self._single is not None:
            self._single.follow(list(self._weights.values()))
        if self._selection is not None:
            self._selection.follow()

    def pool(self) -> None:
        """Bring together what the saliency has learned on all ranks; what was tried on the first binds."""
        if self._selection is not None:
            self._selection.saliency.pool(self.ranks)

    def _close(self) -> None:
        """Once, when W has become its projection: drop the channels that the zeros have emptied."""
        if self._single is not None and self._selection is not None and zero_useless(self.model, self.groups):
            dropped = self._selection.channels.dropped()
            self._selection.channels.set(
                [gone | is_zero(self.model, group) for gone, group in zip(dropped, self.groups, strict=True)]
            )

    def _catch_up(self) -> None:
        if self.step <= self.schedule.last_revision:
            if self._selection is not None:
                self._selection.select()
            if self._single is not None and self.config.target_zeros is not None:
                self._single.fix(self.step, self._left)

    def _left(self) -> list[Tensor]:
        dropped = self._selection.channels.dropped() if self._selection is not None else []
        return surviving(self.model, list(self._weights.values()), self.groups, dropped)

    def _v(self) -> list[Tensor]:
        return [] if self._single is None else self._single.v(self.step)

    def _moved(self) -> list[Tensor]:
        channels = self._selection.channels.parameters if self._selection is not None else []
        return list(dict.fromkeys([*channels, *(self._single.weights if self._single is not None else ())]))

    def _zero(self, model: nn.Module) -> int:
        entries = self.mask(model)
        if self._selection is not None:
            for group, gone in zip(self.groups, self._selection.channels.dropped(), strict=True):
                zero(model, group, gone)
            if self._single is not None:
                zero_useless(model, self.groups)
        return entries

    def _outcomes(self, kept: Sequence[int]) -> list[Outcome]:
        return self._selection.outcomes(kept) if self._selection is not None else []

    def _optimality(self) -> float | None:
        return self._selection.choice.optimality if self._selection is not None else None

    def _dropped(self) -> int:
        return sum(group.channels - kept for group, kept in zip(self.groups, self.kept, strict=True))
