"""The channels that could be removed from a network, and what it costs without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from compressor.alignment import Alignment
from compressor.channels import branches, shared_places, ties, vanishing_tensors
from compressor.costs import Kind, cost_model
from compressor.costs.latency import latency_model
from compressor.equivalence import Inputs
from compressor.errors import UsageError
from compressor.groups import ChannelGroup, find_groups, is_zero, zero
from compressor.layer_kinds import is_matrix
from compressor.records.costs import Aims
from compressor.records.stages import Pair
from compressor.shards import whole
from compressor.splitting.config import SplittingConfig
from compressor.splitting.paper_groups import as_rows, rows_axis
from compressor.splitting.penalised import matches
from compressor.splitting.targets import Limit, Target

# In an error message, by their share of what is to shrink.
NAMED, WORTH_NAMING = 2, 0.001
FLOAT_BYTES = 4
NOT_CHOSEN = "not in --layers"


class Prunable:
    """The prunable groups of ``model``; with a target those whose producers are all among the penalised layers.

    Costs are counted at one sample of ``example_input``: ``macs`` and ``parameters``, where there are groups, are
    functions of the channels kept.
    """

    def __init__(
        self, model: nn.Module, example_input: Inputs, groups: Sequence[ChannelGroup] | None, penalties: SplittingConfig
    ) -> None:
        self.model, self._example, self._alignment = model, example_input, Alignment.parse(penalties.align)
        self.groups: tuple[ChannelGroup, ...] = ()
        self._others: tuple[ChannelGroup, ...] = ()
        if not penalties.targets and penalties.described.target:
            return
        every = [_trained(model, group) for group in (find_groups(model, example_input) if groups is None else groups)]
        # Without a target a channel goes because it has become useless, whichever layers made it so.
        layers = penalties.layers if penalties.described.target else ()
        free = {
            group: group.prunable and all(matches(m.module, layers) for m in group.members if m.role == "producer")
            for group in every
        }
        # What must lose as many channels as one that stays, stays.
        held = {group.tie for group in every if not free[group]} - {None}
        self.groups = tuple(group for group in every if free[group] and group.tie not in held)
        self._others = tuple(group for group in every if group not in self.groups)
        if self.groups:
            # At once, while the network is whole: it is run for them.
            self.macs = cost_model(model, example_input, self.groups, "macs")
            self.parameters = cost_model(model, example_input, self.groups, "params")

    @property
    def excluded(self) -> dict[str, str]:
        """Why each of the other groups stays, by its name."""
        return {group.name: group.excluded or NOT_CHOSEN for group in self._others}

    def obstacles(self, kind: Kind) -> str:
        """Why no more can be removed, as the end of a sentence: the groups that stay and what they carry of a cost."""
        cost = cost_model(self.model, self._example, self._others, kind)
        shares = [cost.carried(row) / cost.total() for row in np.eye(len(self._others), dtype=bool).tolist()]
        dearest = sorted(zip(shares, self._others, strict=True), key=lambda pair: -pair[0])
        named = [
            f"{group.name} ({share:.1%}: {group.excluded or NOT_CHOSEN})"
            for share, group in dearest[:NAMED]
            if share >= WORTH_NAMING
        ]
        rest = len(self._others) - len(named)
        more = f" and {rest} other group{'s'[: rest > 1]}" if named and rest else ""
        return f", because these stay: {', '.join(named)}{more} (compress inspect shows all)" if named else ""

    def limit(self, target: Target, aims: Aims) -> Limit:
        """The target as a limit on a cost model; `UsageError` for a latency without what was measured."""
        if target.kind == "latency":
            if aims.costs is None:
                raise UsageError(f"{target} needs to know what layers cost: pass aims, as stages.aim measures them")
            model = latency_model(self.model, self._example, self.groups, aims.costs)
            return Limit(target, model, aims.shares.get("latency", target.asked))
        if target.kind == "size":
            bytes_now = FLOAT_BYTES * self.parameters.total()
            return Limit(target, self.parameters, aims.shares.get("size", min(1.0, target.asked / bytes_now)))
        return Limit(target, self.macs if target.kind == "macs" else self.parameters, target.asked)

    def left(self, model: nn.Module) -> list[int]:
        """How many channels of each group `shrink` will leave of ``model``."""
        # The penalties may have emptied further channels; what counts is what `shrink` will keep.
        alive = [group.channels - int(is_zero(model, group).sum()) for group in self.groups]
        kept = list(alive)
        for tie in ties(self.groups):
            most, places = max(alive[place] for place in tie), shared_places([self.groups[place] for place in tie])
            for place in tie:
                kept[place] = self._alignment.up(max(1, most), self.groups[place].channels, places)
        for branch in branches(self.groups).values():
            if not any(alive[place] for place in branch):
                kept = [0 if place in branch else count for place, count in enumerate(kept)]
        return kept

    def figures(self, kept: Sequence[int]) -> tuple[dict[str, Pair], Pair | None, Pair | None]:
        """Channels by group, MACs and parameters, each of the dense network and of that with ``kept`` channels."""
        channels = {group.name: (group.channels, count) for group, count in zip(self.groups, kept, strict=True)}
        if not self.groups:
            return channels, None, None
        macs, parameters = self.macs, self.parameters
        return channels, (macs.total(), macs.total(kept)), (parameters.total(), parameters.total(kept))


def zero_dead_rows(weights: Sequence[Tensor], tolerance: float) -> None:
    """Zero the papers' groups whose mean |w| is at most ``tolerance``."""
    for weight in weights:
        dead = as_rows(weight.detach(), "filters").abs().mean(1) <= tolerance
        weight.index_fill_(rows_axis(weight, "filters"), dead.nonzero().flatten(), 0.0)


def zero_useless(model: nn.Module, groups: Sequence[ChannelGroup]) -> int:
    """Zero every channel that has become useless, and return how many were not zero before.

    A channel is useless when all the weights that make it are zero (what is left is the constant of a bias) or
    all those that read it are; what only useless channels read is useless too.
    """
    count = 0
    while fresh := sum(_zero_useless(model, group) for group in reversed(groups)):
        count += fresh
    return count


def _zero_useless(model: nn.Module, group: ChannelGroup) -> int:
    made, read = (_used(model, group, role) for role in ("producer", "consumer"))
    # Queries and keys have no readers but each other.
    useless = ~made.any(0) | ~(read if len(read) else made).any(0)
    fresh = useless & ~is_zero(model, group)
    zero(model, group, fresh)
    return int(fresh.sum())


def _used(model: nn.Module, group: ChannelGroup, role: str) -> Tensor:
    """For which channels some weight of each member of that role is not zero: bool (members, channels)."""
    used = []
    for member in group.members:
        if member.role == role:
            module = model.get_submodule(member.module)
            matrices = [
                (getattr(module, name).detach(), axis) for name, axis in member.tensors if is_matrix(module, name)
            ]
            rows = [(whole(one) != 0).transpose(0, axis).flatten(1).any(1).cpu() for one, axis in matrices]
            used.append(torch.stack([row[member.index].any(1) for row in rows]).any(0))
    return torch.stack(used) if used else torch.zeros(0, group.channels, dtype=torch.bool)


def _trained(model: nn.Module, group: ChannelGroup) -> ChannelGroup:
    """``group``, excluded when something that would have to vanish with its channels has been frozen since."""
    frozen = next((m.module for p, m, _ in vanishing_tensors(model, group) if not p.requires_grad), None)
    if frozen is None or group.excluded is not None:
        return group
    return replace(group, excluded=f"{frozen} is frozen (requires_grad is off)")
