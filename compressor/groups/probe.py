"""Trust, but verify: remove random channels of every group from a copy, and compare outputs in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressor.errors import first_line
from compressor.groups.channels import ChannelGroup, zero
from compressor.groups.constants import constants, unfoldable
from compressor.groups.graph import NORMS, Proposal, propose
from compressor.groups.removal import remove
from compressor.groups.shortcuts import equal_shortcuts
from compressor.groups.trace import Cut
from compressor.proofs import FLOAT64_LIMIT, Inputs, each, output_difference

READINGS: tuple[Cut, ...] = ("inner", "outer")
# How many of a group's channels are removed, and how often more where channels are cut into pieces.
SHARES = (0.5, 0.2)
CUT_DRAWS = 3


def probed(model: nn.Module, example: Inputs) -> tuple[ChannelGroup, ...]:
    """Every group of ``model``, those whose removal changes the outputs excluded with the reason.

    Where the network cuts channels into pieces and a group fails, the other readings of these places are tried,
    and kept where more can be removed.
    """
    probe = _Probe(model, example)
    cuts: dict[int, Cut] = {}
    best = probe.verdict(cuts)
    for reading in READINGS:
        doubtful = {site for group in best.groups if not group.prunable for site in best.sites[group.name]}
        tried = {**cuts, **dict.fromkeys(doubtful, reading)}
        if doubtful:
            found = probe.verdict(tried)
            if _rows(found) > _rows(best):
                best, cuts = found, tried
    return best.groups


def _rows(proposal: Proposal) -> int:
    """How many rows of weights can be removed."""
    members = [member for group in proposal.groups if group.prunable for member in group.vanishing]
    return sum(member.index.numel() for member in members if member.role == "producer")


class _Probe:
    def __init__(self, model: nn.Module, example: Inputs) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._model = copy.deepcopy(model).cpu().double().eval()
        _randomise(self._model, self._generator)
        self._inputs = each(example, self._random)
        for name, shortcut in equal_shortcuts(self._model, self._inputs).items():
            self._model.set_submodule(name, shortcut)

    def verdict(self, cuts: Mapping[int, Cut]) -> Proposal:
        """One reading of the network, probed."""
        proposal = propose(self._model, self._inputs, cuts)
        reasons = self.reasons([group for group in proposal.groups if group.prunable])
        cut = [g for g in proposal.groups if g.prunable and g.name not in reasons and proposal.sites[g.name]]
        for _ in range(CUT_DRAWS if cut else 0):
            # Where channels are cut into pieces, a wrong reading may be right for some choices.
            reasons |= self.reasons([group for group in cut if group.name not in reasons])
        groups = tuple(replace(g, excluded=reasons.get(g.name, g.excluded)) for g in proposal.groups)
        return replace(proposal, groups=groups)

    def reasons(self, groups: Sequence[ChannelGroup]) -> dict[str, str]:
        """Why groups fail, by name: all at once first, then by halves, so that a sound network costs one probe."""
        reason = self._failure(groups) if groups else None
        if reason is None:
            return {}
        if len(groups) == 1:
            return {groups[0].name: reason}
        middle = len(groups) // 2
        found = {**self.reasons(groups[:middle]), **self.reasons(groups[middle:])}
        sound = [group for group in groups if group.name not in found]
        if len(sound) == len(groups) or (sound and self._failure(sound) is not None):
            # Each half is sound alone but not together: none of them can be trusted.
            return {group.name: f"together with other groups, {reason}" for group in groups}
        return found

    def _failure(self, groups: Sequence[ChannelGroup]) -> str | None:
        return next((why for share in SHARES if (why := self._changed(groups, share)) is not None), None)

    def _changed(self, groups: Sequence[ChannelGroup], share: float) -> str | None:
        zeroed = copy.deepcopy(self._model)
        halves = {}
        for group in groups:
            count = min(group.channels - 1, math.ceil(share * group.channels))
            half = torch.randperm(group.channels, generator=self._generator)[:count]
            zero(zeroed, group, half)
            halves[group.name] = sorted(half.tolist())
        try:
            small = remove(zeroed, groups, halves, self._inputs)
            difference = output_difference(zeroed, small, self._inputs)
        except Exception as error:  # whatever foreign code raises on a shape it did not expect
            return f"removing channels breaks the network ({type(error).__name__}: {first_line(error)})"
        if difference <= FLOAT64_LIMIT:
            return None
        changed = f"removing its zeroed channels changes the output by {difference:.1e} of its scale"
        return f"{changed} ({self._why(zeroed, groups, halves)})"

    def _why(self, zeroed: nn.Module, groups: Sequence[ChannelGroup], halves: Mapping[str, Sequence[int]]) -> str:
        """What a zeroed channel still sends, as far as that is known."""
        chosen = [(group, halves[group.name]) for group in groups]
        names = {module: name for name, module in zeroed.named_modules()}
        for module, (_, values) in constants(zeroed, chosen, self._inputs).items():
            if values is None:
                return f"what a zero channel sends to {names[module]} depends on other channels"
            if bool(values.any()) and (why := unfoldable(module)) is not None:
                sent = float(values[values != 0][0])
                return f"an activation with f(0) != 0 sends {sent:.3g} to {names[module]}, where {why}"
        return "the network's code relies on the number of channels"

    def _random(self, example: Tensor) -> Tensor:
        """Normal random numbers for a batch of two; what is not a number, say a word, stays as it is."""
        rows = example[torch.arange(2) % len(example)].cpu()
        if not example.is_floating_point():
            return rows
        return torch.randn(rows.shape, generator=self._generator, dtype=torch.float64)


def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Random statistics and biases: freshly initialised ones (0 and 1) hide faults."""
    for module in model.modules():
        tensors = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        for name, tensor in tensors.items():
            if name == "bias" or (isinstance(module, NORMS) and tensor.is_floating_point()):
                values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                # Positive and near one, so that variances are valid and signals neither die nor explode.
                tensor.data.copy_(values + 0.5)
