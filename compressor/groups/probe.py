"""Trust, but verify: remove random channels of every group from a copy, and compare outputs in float64."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import nn

from compressor.channels import ChannelGroup, ties
from compressor.equivalence import Inputs
from compressor.groups.branches import with_branches
from compressor.groups.control_flow import ControlFlow, undecided, with_other_sizes
from compressor.groups.draws import drawn
from compressor.groups.proposal import Proposal, propose
from compressor.groups.randomize import randomized
from compressor.groups.readings import READINGS, Unit, concerned, families, read
from compressor.groups.trace import Cut
from compressor.groups.training_only import training_switches
from compressor.groups.trial import BREAKS, Trial, zeroed
from compressor.inputs import Examples, cast
from compressor.precision import in_precision
from compressor.surgery.replacements import equal_shortcuts, slim_equals

# First channels at random places, then such as lie side by side.
ROUNDS = (False, True)
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
    groups = probe.held(proposal.groups)
    reasons = probe.repeated([group for group in groups if group.prunable and proposal.sites[group.name]])
    rest = [group for group in groups if group.prunable and group.name not in reasons]
    for beside in ROUNDS:
        reasons |= probe.reasons([group for group in rest if group.name not in reasons], beside=beside)
    return probe.branched([replace(group, excluded=reasons.get(group.name, group.excluded)) for group in groups])


class Probe:
    """A copy of the network with random statistics and biases, and random inputs."""

    def __init__(self, model: nn.Module, example: Inputs) -> None:
        self._deadline = time.monotonic() + PROBE_SECONDS
        self._generator = torch.Generator().manual_seed(0)
        self._model, self._inputs = randomized(model, example, self._generator)
        wanted = None
        if len(Examples.of(example).calls) > 1:
            # Which way the network goes may lie in their values.
            dtype = self._inputs.precision or torch.float64
            given = cast(example, dtype)
            wanted = ControlFlow(in_precision(model, dtype).eval(), given).operations
            self._inputs = Examples(
                *self._inputs.calls, *given.calls, outputs=given.outputs, precision=self._inputs.precision
            )
        self._undecided = undecided(self._model, self._inputs, wanted)
        for name, shortcut in equal_shortcuts(self._model, self._inputs).items():
            self._model.set_submodule(name, shortcut)
        slim_equals(self._model, self._inputs)
        self._inputs = with_other_sizes(self._model, self._inputs)
        self._switches = training_switches(self._model, self._inputs)
        self._proposals: dict[frozenset[tuple[int, Cut]], Proposal] = {}

    def read(self) -> Proposal:
        """The groups, where the network cuts channels into pieces by the reading by which most can be removed."""
        plain = self._proposed({})
        alike = families(plain)
        left = list(alike)
        cuts: dict[int, Cut] = {}
        # Nearly always one reading loses nothing, and that is quickly seen for all cuts together.
        for reading in (None, *READINGS):
            these = left if reading is None else concerned(left, reading, plain)
            if not these:
                continue
            proposal = plain if reading is None else self._proposed(cuts | read(these, reading, plain))
            for family in self._sound_units(proposal, these):
                most = _rows(_passing(plain, family))
                if most and _rows(_passing(proposal, family)) >= most:
                    left.remove(family)
                    cuts |= read([family], reading, plain) if reading is not None else {}
        cuts |= self._best_cuts(plain, {family: alike[family] for family in left}, cuts)
        return self._proposed(cuts) if cuts else plain

    def _best_cuts(self, plain: Proposal, left: Mapping[Unit, Unit], settled: Mapping[int, Cut]) -> dict[int, Cut]:
        """For families that no reading leaves whole: by the first unit of each, which is probed for the others."""
        most = {family: _rows(_passing(plain, first)) for family, first in left.items()}
        rows = dict(zip(left, self._sound_rows(plain, list(left.values())), strict=True))
        cuts: dict[int, Cut] = {}
        for reading in READINGS:
            doubtful = [family for family in left if rows[family] < most[family] or not rows[family]]
            doubtful = concerned(doubtful, reading, plain)
            if not doubtful:
                continue
            proposal = self._proposed({**settled, **cuts, **read(doubtful, reading, plain)})
            sound = self._sound_rows(proposal, [left[family] for family in doubtful])
            for family, better in zip(doubtful, sound, strict=True):
                if better > rows[family]:
                    rows[family] = better
                    cuts |= read([family], reading, plain)
        return cuts

    def _proposed(self, cuts: Mapping[int, Cut]) -> Proposal:
        key = frozenset(cuts.items())
        if key not in self._proposals:
            self._proposals[key] = propose(self._model, self._inputs, self._switches, cuts, self._undecided)
        return self._proposals[key]

    def _sound_units(self, proposal: Proposal, units: Sequence[Unit]) -> list[Unit]:
        """The units of which no group fails in a first probe: all together, else one by one."""
        passing = {unit: _passing(proposal, unit) for unit in units}
        left, probed = list(units), 0
        while probed < _draws(groups := _united(passing[unit] for unit in left)):
            with self._trial(groups) as trial:
                if trial.failure(groups) is not None:
                    left = [unit for unit in left if trial.failure(passing[unit], complete=False) is None]
            probed += 1
        return left

    def _sound_rows(self, proposal: Proposal, units: Sequence[Unit]) -> list[int]:
        """How many rows of weights can be removed from the groups that pass each unit's cuts."""
        passing = [_passing(proposal, unit) for unit in units]
        failed = self.repeated(_united(passing), complete=False).keys()
        wrong = [sum(any(g.name in failed for g in tie) for tie in _together(groups)) > PATIENCE for groups in passing]
        sound = [[group for group in groups if group.name not in failed] for groups in passing]
        return [0 if bad else _rows(left) for bad, left in zip(wrong, sound, strict=True)]

    def held(self, groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
        """The groups; what must lose as many channels as one that stays, stays as well."""
        reasons: dict[str, str] = {}
        mixed = [tie for tie in _together(groups) if len({group.prunable for group in tie}) > 1]
        if not mixed:
            return list(groups)
        with self._trial(_united(mixed)) as trial:
            for tie in mixed:
                stays = next(group for group in tie if not group.prunable)
                # Where not even equal numbers can go, that is what the user should know.
                reason = trial.failure(tie, complete=False)
                held = f"it must lose as many channels as {stays.name}, which stays"
                told = reason if reason is not None and reason.startswith(BREAKS) else held
                reasons |= dict.fromkeys((group.name for group in tie if group.prunable), told)
        return [replace(group, excluded=reasons.get(group.name, group.excluded)) for group in groups]

    def branched(self, groups: Sequence[ChannelGroup]) -> tuple[ChannelGroup, ...]:
        """The groups, those that can lose all their channels with their branch."""
        return with_branches(self._model, groups, self._inputs, self._switches, self._generator)

    def repeated(self, groups: Sequence[ChannelGroup], *, complete: bool = True) -> dict[str, str]:
        """`reasons` of several draws."""
        reasons: dict[str, str] = {}
        for _ in range(_draws(groups)):
            reasons |= self.reasons([g for g in groups if g.name not in reasons], complete=complete)
        return reasons

    def reasons(self, groups: Sequence[ChannelGroup], *, beside: bool = False, complete: bool = True) -> dict[str, str]:
        """Why groups fail, by name: all at once first, then one by one, so that a sound network costs one probe.

        Only in ``complete`` passes groups are shown to be sound.
        """
        if not groups:
            return {}
        with self._trial(groups, beside=beside) as trial:
            if self._failure(trial, groups, complete=complete) is None:
                return {}
            failures: dict[str, str] = {}
            for tie in _together(groups):
                reason = self._failure(trial, tie, complete=False)
                failures |= {group.name: reason for group in tie} if reason is not None else {}
            left = [group for group in groups if group.name not in failures]
            return failures | self._search(trial, left, complete=complete)

    def _search(self, trial: Trial, groups: Sequence[ChannelGroup], *, complete: bool) -> dict[str, str]:
        """Why groups fail that have not failed alone: all at once first, then by halves."""
        reason = self._failure(trial, groups, complete=complete) if groups else None
        if reason is None:
            return {}
        units = _together(groups)
        if len(units) == 1:
            return {group.name: reason for group in groups}
        middle = len(units) // 2
        failures: dict[str, str] = {}
        for half in (units[:middle], units[middle:]):
            failures |= self._search(trial, _united(half), complete=complete)
        sound = [group for group in groups if group.name not in failures]
        if len(sound) == len(groups) or (sound and self._failure(trial, sound, complete=complete) is not None):
            # Each half is sound alone but not together: none of them can be trusted.
            return {group.name: f"together with other groups, {reason}" for group in groups}
        return failures

    def _failure(self, trial: Trial, groups: Sequence[ChannelGroup], *, complete: bool = True) -> str | None:
        """`Trial.failure`, as long as there is time."""
        if time.monotonic() > self._deadline:
            return f"it was not probed within {PROBE_SECONDS:g} s"
        return trial.failure(groups, complete=complete)

    def _trial(self, groups: Sequence[ChannelGroup], *, beside: bool = False) -> AbstractContextManager[Trial]:
        """Random channels of these groups are zero."""
        places = drawn(groups, self._generator, beside=beside)
        return zeroed(self._model, groups, places, self._inputs, self._switches)


def _together(groups: Sequence[ChannelGroup]) -> list[list[ChannelGroup]]:
    """Groups that lose equally many channels are tried together, others alone."""
    return [[groups[place] for place in tie] for tie in ties(groups)]


def _united(parts: Iterable[Sequence[ChannelGroup]]) -> list[ChannelGroup]:
    """Every group once."""
    return list({group.name: group for part in parts for group in part}.values())


def _draws(groups: Sequence[ChannelGroup]) -> int:
    """How often groups that pass a cut are probed."""
    draws = CUT_CHANNELS // min((group.channels for group in groups), default=CUT_CHANNELS)
    return min(max(draws, CUT_DRAWS[0]), CUT_DRAWS[1]) if groups else 0


def _rows(groups: Sequence[ChannelGroup]) -> int:
    members = [member for group in groups for member in group.members]
    return sum(member.index.numel() for member in members if member.role == "producer")


def _passing(proposal: Proposal, unit: Collection[int]) -> list[ChannelGroup]:
    return [group for group in proposal.groups if group.prunable and set(proposal.sites[group.name]) & set(unit)]
