"""Trust, but verify: remove random channels of every group from a copy, and compare outputs in float64."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressor.channels import ChannelGroup
from compressor.equivalence import Inputs, random_inputs
from compressor.groups.proposal import Proposal, propose
from compressor.groups.randomize import randomize
from compressor.groups.trace import Cut, Kind
from compressor.groups.training_only import training_switches
from compressor.groups.trial import Trial, zeroed
from compressor.surgery.replacements import equal_shortcuts, slim_equals

# Cuts that are read alike.
Unit = frozenset[int]
READINGS: tuple[Cut, ...] = ("inner", "outer")
# How many of a group's channels are removed.
SHARES = (0.5, 0.2)
# Where channels are cut into pieces a wrong reading is right for some choices, the more so the fewer there are.
CUT_DRAWS, CUT_CHANNELS = (2, 16), 64
# Groups that have not been probed by then are left alone.
PROBE_SECONDS = 600.0
# A reading by which more groups than this fail is a wrong one.
PATIENCE = 3


def probed(model: nn.Module, example: Inputs) -> tuple[ChannelGroup, ...]:
    """Every group of ``model``, those whose removal changes the outputs excluded with the reason."""
    probe = Probe(model, example)
    proposal = probe.read()
    cut = [group for group in proposal.groups if group.prunable and proposal.sites[group.name]]
    reasons = probe.repeated(cut)
    rest = [group for group in proposal.groups if group.prunable and group.name not in reasons]
    for share in SHARES:
        reasons |= probe.reasons([group for group in rest if group.name not in reasons], share)
    return tuple(replace(group, excluded=reasons.get(group.name, group.excluded)) for group in proposal.groups)


def _units(proposal: Proposal) -> list[Unit]:
    """Cuts that share channels with each other."""
    units: list[Unit] = []
    for sites in proposal.sites.values():
        shared = [unit for unit in units if unit & set(sites)]
        if sites:
            units = [unit for unit in units if unit not in shared] + [frozenset(sites).union(*shared)]
    return units


def _families(proposal: Proposal) -> dict[Unit, Unit]:
    """Units that the same code makes are read alike: all of them as one, with the first of them."""
    alike: dict[frozenset[Kind], list[Unit]] = defaultdict(list)
    for unit in _units(proposal):
        alike[frozenset(proposal.kinds[site] for site in unit)].append(unit)
    return {frozenset().union(*units): min(units, key=min) for units in alike.values()}


class Probe:
    """A copy of the network with random statistics and biases, and random inputs."""

    def __init__(self, model: nn.Module, example: Inputs) -> None:
        self._deadline = time.monotonic() + PROBE_SECONDS
        self._generator = torch.Generator().manual_seed(0)
        self._model = copy.deepcopy(model).cpu().double().eval()
        randomize(self._model, self._generator)
        # In batches of two.
        self._inputs = random_inputs(example, self._generator, batch=2, dtype=torch.float64)
        for name, shortcut in equal_shortcuts(self._model, self._inputs).items():
            self._model.set_submodule(name, shortcut)
        slim_equals(self._model, self._inputs)
        self._switches = training_switches(self._model, self._inputs)
        self._proposals: dict[frozenset[tuple[int, Cut]], Proposal] = {}

    def read(self) -> Proposal:
        """The groups, where the network cuts channels into pieces by the reading by which most can be removed."""
        plain = self._proposed({})
        families = _families(plain)
        left = list(families)
        cuts: dict[int, Cut] = {}
        # Nearly always one reading loses nothing, and that is quickly seen for all cuts together.
        for reading in (None, *READINGS):
            proposal = plain if reading is None or not left else self._proposed(cuts | _read(left, reading))
            for family in self._sound_units(proposal, left):
                most = _rows(_passing(plain, family))
                if most and _rows(_passing(proposal, family)) >= most:
                    left.remove(family)
                    cuts |= _read([family], reading) if reading is not None else {}
        cuts |= self._best_cuts(plain, {family: families[family] for family in left}, cuts)
        return self._proposed(cuts) if cuts else plain

    def _best_cuts(self, plain: Proposal, left: Mapping[Unit, Unit], settled: Mapping[int, Cut]) -> dict[int, Cut]:
        """For families that no reading leaves whole: by the first unit of each, which is probed for the others."""
        most = {family: _rows(_passing(plain, first)) for family, first in left.items()}
        rows = dict(zip(left, self._sound_rows(plain, list(left.values())), strict=True))
        cuts: dict[int, Cut] = {}
        for reading in READINGS:
            doubtful = [family for family in left if rows[family] < most[family] or not rows[family]]
            if not doubtful:
                break
            proposal = self._proposed({**settled, **cuts, **_read(doubtful, reading)})
            sound = self._sound_rows(proposal, [left[family] for family in doubtful])
            for family, better in zip(doubtful, sound, strict=True):
                if better > rows[family]:
                    rows[family] = better
                    cuts |= _read([family], reading)
        return cuts

    def _proposed(self, cuts: Mapping[int, Cut]) -> Proposal:
        key = frozenset(cuts.items())
        if key not in self._proposals:
            self._proposals[key] = propose(self._model, self._inputs, self._switches, cuts)
        return self._proposals[key]

    def _sound_units(self, proposal: Proposal, units: Sequence[Unit]) -> list[Unit]:
        """The units of which no group fails in a first probe: all together, else one by one."""
        passing = {unit: _passing(proposal, unit) for unit in units}
        left, probed = list(units), 0
        while probed < _draws(groups := _united(passing[unit] for unit in left)):
            with self._trial(groups, self._drawn(groups, SHARES[0])) as trial:
                if trial.failure(groups) is not None:
                    left = [unit for unit in left if trial.failure(passing[unit], complete=False) is None]
            probed += 1
        return left

    def _sound_rows(self, proposal: Proposal, units: Sequence[Unit]) -> list[int]:
        """How many rows of weights can be removed from the groups that pass each unit's cuts."""
        passing = [_passing(proposal, unit) for unit in units]
        reasons = self.repeated(_united(passing))
        sound = [[group for group in groups if group.name not in reasons] for groups in passing]
        wrong = [len(groups) - len(left) > PATIENCE for groups, left in zip(passing, sound, strict=True)]
        return [0 if bad else _rows(left) for bad, left in zip(wrong, sound, strict=True)]

    def repeated(self, groups: Sequence[ChannelGroup]) -> dict[str, str]:
        """`reasons` of several draws."""
        reasons: dict[str, str] = {}
        for _ in range(_draws(groups)):
            reasons |= self.reasons([g for g in groups if g.name not in reasons], SHARES[0])
        return reasons

    def reasons(self, groups: Sequence[ChannelGroup], share: float) -> dict[str, str]:
        """Why groups fail, by name: all at once first, then one by one, so that a sound network costs one probe."""
        if not groups:
            return {}
        with self._trial(groups, self._drawn(groups, share)) as trial:
            reason = self._failure(trial, groups)
            if reason is None:
                return {}
            failures: dict[str, str] = {}
            for together in _inseparable(groups):
                alone = self._failure(trial, together, complete=False)
                failures |= {group.name: alone for group in together} if alone is not None else {}
            return failures | self._search(trial, [group for group in groups if group.name not in failures])

    def _search(self, trial: Trial, groups: Sequence[ChannelGroup]) -> dict[str, str]:
        """Why groups fail that have not failed alone: all at once first, then by halves."""
        reason = self._failure(trial, groups) if groups else None
        if reason is None:
            return {}
        units = _inseparable(groups)
        if len(units) == 1:
            return {group.name: reason for group in groups}
        halves = units[: len(units) // 2], units[len(units) // 2 :]
        failures = {name: why for half in halves for name, why in self._search(trial, _united(half)).items()}
        sound = [group for group in groups if group.name not in failures]
        if len(sound) == len(groups) or (sound and self._failure(trial, sound) is not None):
            # Each half is sound alone but not together: none of them can be trusted.
            return {group.name: f"together with other groups, {reason}" for group in groups}
        return failures

    def _failure(self, trial: Trial, groups: Sequence[ChannelGroup], *, complete: bool = True) -> str | None:
        """`Trial.failure`, as long as there is time."""
        if time.monotonic() > self._deadline:
            return f"it was not probed within {PROBE_SECONDS:g} s"
        return trial.failure(groups, complete=complete)

    def _trial(
        self, groups: Sequence[ChannelGroup], drawn: Mapping[str, Tensor]
    ) -> contextlib.AbstractContextManager[Trial]:
        return zeroed(self._model, groups, drawn, self._inputs, self._switches)

    def _drawn(self, groups: Sequence[ChannelGroup], share: float) -> dict[str, Tensor]:
        return {group.name: self._draw(group, share) for group in groups}

    def _draw(self, group: ChannelGroup, share: float) -> Tensor:
        """Random channels, but never all."""
        count = min(group.channels - 1, math.ceil(share * group.channels))
        return torch.randperm(group.channels, generator=self._generator)[:count].sort().values


def _inseparable(groups: Sequence[ChannelGroup]) -> list[list[ChannelGroup]]:
    """Groups that are tried together: each on its own."""
    return [[group] for group in groups]


def _united(parts: Iterable[Sequence[ChannelGroup]]) -> list[ChannelGroup]:
    """Every group once."""
    return list({group.name: group for part in parts for group in part}.values())


def _draws(groups: Sequence[ChannelGroup]) -> int:
    """How often groups that pass a cut are probed."""
    draws = CUT_CHANNELS // min((group.channels for group in groups), default=CUT_CHANNELS)
    return min(max(draws, CUT_DRAWS[0]), CUT_DRAWS[1]) if groups else 0


def _read(units: Sequence[Unit], reading: Cut) -> dict[int, Cut]:
    return {site: reading for unit in units for site in unit}


def _rows(groups: Sequence[ChannelGroup]) -> int:
    members = [member for group in groups for member in group.members]
    return sum(member.index.numel() for member in members if member.role == "producer")


def _passing(proposal: Proposal, unit: Collection[int]) -> list[ChannelGroup]:
    return [group for group in proposal.groups if group.prunable and set(proposal.sites[group.name]) & set(unit)]
