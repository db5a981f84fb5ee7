"""The channels that could be removed from a network, and what it costs without them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compressor.alignment import Alignment
from compressor.costs import CostModel, Kind, cost_model
from compressor.groups import ChannelGroup, find_groups, is_zero, zero
from compressor.layer_kinds import matrices
from compressor.splitting.config import SplittingConfig, matches
from compressor.splitting.rows import as_rows, rows_axis

# In an error message, by their share of what is to shrink.
NAMED, WORTH_NAMING = 2, 0.001


class Removable:
    """The prunable groups of ``model``; with a target those whose producers are all among the penalised layers.

    Costs are counted at one sample of ``example_input``.
    """

    def __init__(
        self, model: nn.Module, example_input: Tensor, groups: Sequence[ChannelGroup] | None, penalties: SplittingConfig
    ) -> None:
        self.model, self._example, self._alignment = model, example_input, Alignment.parse(penalties.align)
        self.groups: tuple[ChannelGroup, ...] = ()
        self._others: tuple[ChannelGroup, ...] = ()
        if penalties.target is None and penalties.described.target:
            return
        found = find_groups(model, example_input) if groups is None else groups
        # Without a target a channel goes because it has become useless, whichever layers made it so.
        layers = penalties.layers if penalties.described.target else ()
        chosen = {
            group: all(matches(m.module, layers) for m in group.members if m.role == "producer") for group in found
        }
        self.groups = tuple(group for group in found if group.prunable and chosen[group])
        self._others = tuple(group for group in found if group not in self.groups)

    def obstacles(self, kind: Kind) -> str:
        """Why no more can be removed, as the end of a sentence: the groups that stay and what they carry."""
        cost = cost_model(self.model, self._example, self._others, kind)
        shares = [cost.carried(row) / cost.total() for row in np.eye(len(self._others), dtype=bool).tolist()]
        dearest = sorted(zip(shares, self._others, strict=True), key=lambda pair: -pair[0])
        named = [
            f"{group.name} ({share:.1%}: {group.excluded or 'not in --layers'})"
            for share, group in dearest[:NAMED]
            if share >= WORTH_NAMING
        ]
        rest = len(self._others) - len(named)
        more = f" and {rest} other group{'s'[: rest > 1]}" if named and rest else ""
        return f", because these stay: {', '.join(named)}{more} (compress inspect shows all)" if named else ""

    @cached_property
    def macs(self) -> CostModel:
        """MACs as a function of the channels kept."""
        return cost_model(self.model, self._example, self.groups, "macs")

    @cached_property
    def parameters(self) -> CostModel:
        """Parameters as a function of the channels kept."""
        return cost_model(self.model, self._example, self.groups, "params")

    def cost(self, kind: Kind) -> CostModel:
        """The cost model of that kind."""
        return self.macs if kind == "macs" else self.parameters

    def zero_dead(self, weights: Sequence[Tensor], tolerance: float) -> None:
        """Zero the papers' groups whose mean |w| is at most ``tolerance``, then every channel that has become useless.

        A channel is useless when all the weights that make it are zero (what is left is the constant of a bias) or
        all those that read it are.
        """
        for weight in weights:
            dead = as_rows(weight.detach(), "filters").abs().mean(1) <= tolerance
            weight.index_fill_(rows_axis(weight, "filters"), dead.nonzero().flatten(), 0.0)
        # What only useless channels read is useless too.
        while any(self._zero_useless(group) for group in reversed(self.groups)):
            pass

    def figures(self) -> dict[str, Any]:
        """Channels and costs of the network, dense and as `shrink` will leave it, as fields of a `Projection`."""
        # The penalties may have emptied further channels; what counts is what `shrink` will keep.
        alive = [group.channels - int(is_zero(self.model, group).sum()) for group in self.groups]
        kept = [self._alignment.up(max(1, n), group.channels) for n, group in zip(alive, self.groups, strict=True)]
        return {
            "channels": {group.name: group.channels for group in self.groups},
            "kept": {group.name: count for group, count in zip(self.groups, kept, strict=True)},
            "macs": (self.macs.total(), self.macs.total(kept)) if self.groups else None,
            "parameters": (self.parameters.total(), self.parameters.total(kept)) if self.groups else None,
        }

    def _zero_useless(self, group: ChannelGroup) -> bool:
        """Zero the channels that nothing makes or nothing reads; whether one of them was not zero before."""
        made, read = (self._used(group, role) for role in ("producer", "consumer"))
        # Queries and keys have no readers but each other.
        useless = ~made.any(0) | ~(read if len(read) else made).any(0)
        fresh = useless & ~is_zero(self.model, group)
        zero(self.model, group, fresh)
        return bool(fresh.any())

    def _used(self, group: ChannelGroup, role: str) -> Tensor:
        """For which channels some weight of each member of that role is not zero: bool (members, channels)."""
        found = []
        for member in group.members:
            if member.role == role:
                module, axes = self.model.get_submodule(member.module), dict(member.tensors)
                weights = [(getattr(module, name).detach(), axes[name]) for name in matrices(module) if name in axes]
                rows = [(weight != 0).transpose(0, axis).flatten(1).any(1).cpu() for weight, axis in weights]
                found.append(torch.stack([row[member.index].any(1) for row in rows]).any(0))
        return torch.stack(found) if found else torch.zeros(0, group.channels, dtype=torch.bool)
