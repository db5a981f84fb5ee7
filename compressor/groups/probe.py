"""Trust, but verify: remove random channels of every group from a copy, and compare outputs in float64."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressor.channels import ChannelGroup, ties, vanishing_tensors, zero
from compressor.equivalence import FLOAT64_LIMIT, Inputs, outputs, random_inputs, relative_difference
from compressor.errors import first_line
from compressor.groups.draws import drawn
from compressor.groups.proposal import Proposal, propose
from compressor.groups.randomize import randomize
from compressor.groups.readings import READINGS, Unit, concerned, families, read
from compressor.groups.trace import Cut
from compressor.groups.training_only import training_outputs, training_switches
from compressor.hooks import running
from compressor.surgery import without
from compressor.surgery.constants import Constants, observed, unfoldable
from compressor.surgery.replacements import equal_shortcuts, slim_equals

# First channels at random places, then such as lie side by side.
ROUNDS = (False, True)
# Where channels are cut into pieces a wrong reading is right for some choices, the more so the fewer there are.
CUT_DRAWS, CUT_CHANNELS = (2, 16), 64
# Groups that have not been probed by then are left alone.
PROBE_SECONDS = 600.0
# A reading by which more groups than this fail is a wrong one.
PATIENCE = 3
BREAKS = "removing channels breaks the network"


class _TooManyFailuresError(Exception):
    """Too many groups fail."""


def probed(model: nn.Module, example: Inputs) -> tuple[ChannelGroup, ...]:
    """Every group of ``model``, those whose removal changes the outputs excluded with the reason."""
    probe = Probe(model, example)
    proposal = probe.read()
    groups = probe.held(proposal.groups)
    reasons = probe.repeated([group for group in groups if group.prunable and proposal.sites[group.name]])
    rest = [group for group in groups if group.prunable and group.name not in reasons]
    for beside in ROUNDS:
        reasons |= probe.reasons([group for group in rest if group.name not in reasons], beside=beside)
    return tuple(replace(group, excluded=reasons.get(group.name, group.excluded)) for group in groups)


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
        rows = {family: self._sound_rows(plain, first) for family, first in left.items()}
        cuts: dict[int, Cut] = {}
        for reading in READINGS:
            doubtful = [family for family in left if rows[family] < most[family] or not rows[family]]
            doubtful = concerned(doubtful, reading, plain)
            if not doubtful:
                continue
            proposal = self._proposed({**settled, **cuts, **read(doubtful, reading, plain)})
            for family in doubtful:
                sound = self._sound_rows(proposal, left[family])
                if sound > rows[family]:
                    rows[family] = sound
                    cuts |= read([family], reading, plain)
        return cuts

    def _proposed(self, cuts: Mapping[int, Cut]) -> Proposal:
        return propose(self._model, self._inputs, self._switches, cuts)

    def _sound_units(self, proposal: Proposal, units: Sequence[Unit]) -> list[Unit]:
        """The units of which no group fails in a first probe: all together, else one by one."""

        def sound(units: Sequence[Unit]) -> bool:
            groups = list({group.name: group for unit in units for group in _passing(proposal, unit)}.values())
            return all(self.failure(groups, drawn(groups, self._generator)) is None for _ in range(_draws(groups)))

        return list(units) if sound(units) else [unit for unit in units if sound([unit])]

    def _sound_rows(self, proposal: Proposal, unit: Collection[int]) -> int:
        """How many rows of weights can be removed from the groups that pass these cuts."""
        groups = _passing(proposal, unit)
        try:
            reasons = self.repeated(groups, PATIENCE)
        except _TooManyFailuresError:
            return 0
        return _rows([group for group in groups if group.name not in reasons])

    def held(self, groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
        """The groups; what must lose as many channels as one that stays, stays as well."""
        reasons: dict[str, str] = {}
        for together in ([groups[place] for place in tie] for tie in ties(groups)):
            stays = next((group for group in together if not group.prunable), None)
            if stays is not None and len(together) > 1:
                # Where not even equal numbers can go, that is what the user should know.
                reason = self.failure(together, drawn(together, self._generator))
                held = f"it must lose as many channels as {stays.name}, which stays"
                told = reason if reason is not None and reason.startswith(BREAKS) else held
                reasons |= dict.fromkeys((group.name for group in together if group.prunable), told)
        return [replace(group, excluded=reasons.get(group.name, group.excluded)) for group in groups]

    def repeated(self, groups: Sequence[ChannelGroup], patience: int | None = None) -> dict[str, str]:
        """`reasons` of several draws."""
        reasons: dict[str, str] = {}
        for _ in range(_draws(groups)):
            reasons |= self.reasons([g for g in groups if g.name not in reasons], patience)
        return reasons

    def reasons(
        self, groups: Sequence[ChannelGroup], patience: int | None = None, *, beside: bool = False
    ) -> dict[str, str]:
        """Why groups fail, by name: all at once first, then by halves, so that a sound network costs one probe.

        With ``patience`` the search is given up when more groups than that fail.
        """
        failed: list[str] = []
        places = drawn(groups, self._generator, beside=beside)

        def search(together: Sequence[Sequence[int]]) -> dict[str, str]:
            concerned = [groups[place] for tie in together for place in tie]
            if time.monotonic() > self._deadline:
                return {group.name: f"it was not probed within {PROBE_SECONDS:g} s" for group in concerned}
            reason = self.failure(concerned, places) if concerned else None
            if reason is None:
                return {}
            if len(together) == 1:
                failed.append(concerned[0].name)
                if patience is not None and len(failed) > patience:
                    raise _TooManyFailuresError
                return {group.name: reason for group in concerned}
            middle = len(together) // 2
            failures = {**search(together[:middle]), **search(together[middle:])}
            sound = [group for group in concerned if group.name not in failures]
            if len(sound) == len(concerned) or (sound and self.failure(sound, places) is not None):
                # Each half is sound alone but not together: none of them can be trusted.
                return {group.name: f"together with other groups, {reason}" for group in concerned}
            return failures

        return search(ties(groups))

    def failure(self, groups: Sequence[ChannelGroup], places: Mapping[str, Tensor]) -> str | None:
        """Why removing these channels of all ``groups`` at once fails; None when nothing changes."""
        # Only what is zeroed is copied: a large network is mostly tensors.
        zeroing = {id(parameter) for group in groups for parameter, _, _ in vanishing_tensors(self._model, group)}
        tensors = [*self._model.parameters(), *self._model.buffers()]
        zeroed = copy.deepcopy(self._model, {id(t): t for t in tensors if id(t) not in zeroing})
        for group in groups:
            zero(zeroed, group, places[group.name])
        chosen = [(group, places[group.name].tolist()) for group in groups]
        expected, constants = observed(zeroed, chosen, self._inputs)
        expected += training_outputs(zeroed, self._inputs, self._switches)
        modules: list[tuple[str, nn.Module]] = []
        try:
            small = without(zeroed, chosen, constants, {})
            with running(small) as modules:
                actual = outputs(small, self._inputs) + training_outputs(small, self._inputs, self._switches)
        except Exception as error:  # whatever the network's code raises on a shape it did not expect
            place = f" in {modules[-1][0]}" if modules and modules[-1][0] else ""
            return f"{BREAKS}{place} ({type(error).__name__}: {first_line(error)})"
        difference = max(relative_difference(one, other) for one, other in zip(expected, actual, strict=True))
        if difference <= FLOAT64_LIMIT:
            return None
        changed = f"removing its zeroed channels changes the output by {difference:.1e} of its scale"
        return f"{changed} ({_why(zeroed, constants)})"


def _why(zeroed: nn.Module, constants: Constants) -> str:
    """What a zeroed channel still sends, as far as that is known."""
    for name, (_, values) in constants.items():
        if values is None:
            return f"what a zero channel sends to {name} depends on other channels"
        if bool(values.any()) and (why := unfoldable(zeroed.get_submodule(name))) is not None:
            sent = float(values[values != 0][0])
            return f"an activation with f(0) != 0 sends {sent:.3g} to {name}, where {why}"
    return "the network's code relies on the number of channels"


def _draws(groups: Sequence[ChannelGroup]) -> int:
    """How often groups that pass a cut are probed."""
    draws = CUT_CHANNELS // min((group.channels for group in groups), default=CUT_CHANNELS)
    return min(max(draws, CUT_DRAWS[0]), CUT_DRAWS[1]) if groups else 0


def _rows(groups: Sequence[ChannelGroup]) -> int:
    members = [member for group in groups for member in group.members]
    return sum(member.index.numel() for member in members if member.role == "producer")


def _passing(proposal: Proposal, unit: Collection[int]) -> list[ChannelGroup]:
    return [group for group in proposal.groups if group.prunable and set(proposal.sites[group.name]) & set(unit)]
