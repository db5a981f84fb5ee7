"""How places where channels are cut into pieces may be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from compressor.groups.proposal import Proposal
from compressor.groups.trace import Cut, Kind

# Cuts that are read alike.
Unit = frozenset[int]
# How cuts are read, and whether splits are read too: else what lies on their pieces is tied.
READINGS: tuple[tuple[Cut, bool], ...] = (("inner", False), ("outer", False), ("inner", True), ("outer", True))


def _units(proposal: Proposal) -> list[Unit]:
    """Cuts that share channels with each other."""
    units: list[Unit] = []
    for sites in proposal.sites.values():
        shared = [unit for unit in units if unit & set(sites)]
        if sites:
            units = [unit for unit in units if unit not in shared] + [frozenset(sites).union(*shared)]
    return units


def families(proposal: Proposal) -> dict[Unit, Unit]:
    """Units that the same code makes are read alike: all of them as one, with the first of them."""
    alike: dict[frozenset[Kind], list[Unit]] = defaultdict(list)
    for unit in _units(proposal):
        alike[frozenset(proposal.kinds[site] for site in unit)].append(unit)
    return {frozenset().union(*units): min(units, key=min) for units in alike.values()}


def concerned(units: Iterable[Unit], reading: tuple[Cut, bool], plain: Proposal) -> list[Unit]:
    """The units for which the reading differs from those before it."""
    cut, splits = reading
    if not splits:
        return [unit for unit in units if unit - plain.splits]
    # Without views both cuts are the same.
    return [unit for unit in units if unit & plain.splits and (unit - plain.splits or cut == "inner")]


def read(units: Sequence[Unit], reading: tuple[Cut, bool], plain: Proposal) -> dict[int, Cut]:
    """How these units read each of their cuts."""
    cut, splits = reading
    return {site: cut for unit in units for site in unit if splits or site not in plain.splits}
