"""Proximal network slimming: an auxiliary variable for the scales of norms, soft thresholded after every step.

Bui, Xue, Park, Qi and Xin, "A proximal algorithm for network slimming", arXiv 2307.00684, 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor import penalties
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups import ChannelGroup, zero
from compressor.records import Sparsity
from compressor.splitting.agreement import check_state
from compressor.splitting.base import TOLERANCE, SplittingBase
from compressor.splitting.config import SplittingConfig
from compressor.splitting.penalised import twin_of
from compressor.splitting.prunable import zero_useless
from compressor.splitting.scales import Deciding, channels_where, deciding_scales
from compressor.splitting.schedule import at_least_1, implicit_share
from compressor.splitting.taken_back import relative_change, taken_back


class Slimming(SplittingBase):
    r"""Drives the scales of BatchNorm in ``model`` to zero while the user trains it, and with them whole channels.

    With gamma the scales, gamma+ what the optimiser's step makes of them, xi an auxiliary variable for each, and
    alpha = 1 / lr, lr that of the optimiser's parameter group that holds the scale, after every step:

    .. math::
        \gamma &= (\alpha \gamma^+ + \beta \xi) / (\alpha + \beta) \\
        \xi &= S_{s / (\alpha + \beta)}((\alpha \xi + \beta \gamma) / (\alpha + \beta))

    S is the soft threshold: gamma minimises alpha/2 (g - gamma+)^2 + beta/2 (g - xi)^2, xi then
    s \|x\| + alpha/2 (x - xi)^2 + beta/2 (x - gamma)^2. The authors train from scratch, with gamma = 0.5 and xi drawn
    from [0.47, 0.53] at the start; here a trained network is the start, so xi starts as its gamma.

    `project` removes the channels all of whose scales are zero in xi, and zeroes other scales where xi is zero: what
    is left of those are constants. Channels that reach a layer by no such norm stay. ``strength`` is s, ``beta`` beta,
    both absolute. ``layers``: `fnmatch` patterns of the names of the norms that are penalised, all by default.
    ``example_input``, ``total_steps``, ``align`` and ``groups`` are as in `Splitting`.

    Raises `UsageError` for a wrong option, and for a network without a trainable BatchNorm.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        example_input: Inputs,
        *,
        total_steps: int,
        strength: float | None = None,
        beta: float | None = None,
        align: str | int = "auto",
        layers: Sequence[str] = (),
        groups: Sequence[ChannelGroup] | None = None,
    ) -> None:
        config = SplittingConfig(
            method="slimming",
            strength=strength,
            beta=None if beta is None else (beta, beta),
            align=align,
            layers=tuple(layers),
        )
        at_least_1(config.method, "total_steps", total_steps)
        super().__init__(model, example_input, config, total_steps, groups)
        self._penalty = penalties.penalty(config.penalty_name)
        self._xi = [scale.detach().clone() for scale in self._weights.values()]
        self._deciding: list[Deciding] = [
            deciding_scales(self.model, example_input, group, list(self._weights)) for group in self.prunable.groups
        ]
        # Of the scales whose optimiser has stepped.
        self._rates: dict[Tensor, float] = {}

    def before_step(self, optimizer: Optimizer) -> None:
        """Note the learning rates of this step."""
        held = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
        self._rates |= {scale: float(held[scale]) for scale in self._weights.values() if scale in held}

    @torch.no_grad()
    def after_step(self) -> None:
        """Count an optimiser step, and move gamma and xi towards each other; with a learning rate of 0 both rest."""
        self.step += 1
        stepped = [scale in self._rates for scale in self._weights.values()]
        gammas, xis = (list(compress(tensors, stepped)) for tensors in (self._weights.values(), self._here()))
        shares = [implicit_share(self._rates[gamma], self.beta) for gamma in gammas]
        self._rates.clear()
        torch._foreach_lerp_(gammas, xis, shares)
        torch._foreach_lerp_(xis, gammas, shares)
        # s / (alpha + beta), where alpha may be infinite
        steps = [(self.config.strength or 0.0) / self.beta * share for share in shares]
        torch._foreach_copy_(xis, self._penalty.prox_each(xis, steps))

    @property
    def beta(self) -> float:
        """The weight of the splitting term."""
        return self.config.beta_range[0]

    @torch.no_grad()
    def sparsity(self) -> dict[str, Sparsity]:
        """Shares of zeros among the scales, and of channels all of whose scales are: of gamma at 1e-5, of xi exact."""
        gammas = [scale.detach().abs() <= TOLERANCE for scale in self._weights.values()]
        return {f"gamma at {TOLERANCE:g}": self._shares(gammas), "xi": self._shares([xi == 0 for xi in self._xi])}

    @torch.no_grad()
    def gap(self, model: nn.Module | None = None) -> float:
        """By how much projection changes the scales and biases of the norms: |gamma - P(gamma)| / |gamma| of all.

        The weights in front of a norm do not count: behind them is a scale of zero. ``model`` is as in `project`.
        """
        target = self.model if model is None else twin_of(self.model, model)
        with taken_back(self._affected(target)):
            norms = [target.get_submodule(name.rpartition(".")[0]) for name in self._weights]
            parameters = [parameter for norm in norms for parameter in norm.parameters()]
            before = [parameter.detach().clone() for parameter in parameters]
            self._zero(target)
            return relative_change(parameters, before)

    def state_dict(self) -> dict[str, Any]:
        """The step and xi."""
        return {**self.settings(), "step": self.step, "xi": [xi.clone() for xi in self._xi]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; `UsageError` for a state of another splitting."""
        check_state(self.settings(), state)
        if [xi.shape for xi in state["xi"]] != [xi.shape for xi in self._xi]:
            raise UsageError("the state belongs to another splitting: its xi has other shapes than the scales")
        self.step, self._xi = state["step"], [xi.clone() for xi in state["xi"]]

    def _here(self) -> list[Tensor]:
        """xi on the devices of the scales, to which the user may have moved them since."""
        self._xi = [xi.to(scale) for xi, scale in zip(self._xi, self._weights.values(), strict=True)]
        return self._xi

    def _gone(self, zeros: Sequence[Tensor]) -> Iterable[tuple[ChannelGroup, Tensor]]:
        """The channels of every group all of whose scales are ``zeros``; none where no scales decide."""
        for group, deciding in zip(self.prunable.groups, self._deciding, strict=True):
            yield group, channels_where(zeros, group, deciding)

    def _shares(self, zeros: Sequence[Tensor]) -> Sparsity:
        channels = sum(group.channels for group in self.prunable.groups)
        gone = sum(int(found.sum()) for _, found in self._gone(zeros))
        scales = sum(found.numel() for found in zeros)
        return Sparsity(weights=sum(int(found.sum()) for found in zeros) / scales, groups=gone / max(1, channels))

    def _v(self) -> list[Tensor]:
        return self._here()

    def _moved(self) -> list[Tensor]:
        return list(self._weights.values())

    def _zero(self, model: nn.Module) -> int:
        """The scales where xi is zero, the channels all of whose scales are, then every channel that is useless."""
        entries = self.mask(model)
        for group, gone in self._gone([xi == 0 for xi in self._xi]):
            zero(model, group, gone)
        zero_useless(model, self.prunable.groups)
        return entries
