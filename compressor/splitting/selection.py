"""Method budget: which channels survive, and the penalty on the others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compressor.alignment import Alignment
from compressor.costs import CostModel
from compressor.errors import TargetNotMet
from compressor.groups import ChannelGroup, zero
from compressor.penalties import GroupPenalty
from compressor.splitting.budget import Budget, Target
from compressor.splitting.channels import Channels
from compressor.splitting.removable import Removable
from compressor.splitting.saliency import saliency


class Selection:
    """The most salient channels that fit a budget survive; the others carry ``penalty``.

    Raises `TargetNotMet` when the target cannot be reached.
    """

    def __init__(self, removable: Removable, target: Target, penalty: GroupPenalty, align: Alignment) -> None:
        if not removable.groups:
            why = removable.obstacles(target.kind) or ": it has no convolution, linear or recurrent layer"
            raise TargetNotMet(f"no channel of this network can be removed{why}")
        self.target, self._removable = target, removable
        self._budget = Budget(removable.cost(target.kind), align)
        least = self._budget.ratio(self._budget.least)
        if least > target.ratio:
            raise TargetNotMet(
                f"{target} asked, {least:.3f} is the least that can be reached with --align {align}, "
                f"which keeps {align.steps} channels of every group{removable.obstacles(target.kind)}"
            )
        self.channels = Channels(removable.model, removable.groups, penalty.phi)
        self.kept = [group.channels for group in removable.groups]

    def select(self, ratio: float) -> None:
        """Choose the survivors of a budget from the weights as they are."""
        found = scores(self._removable.model, self._removable.groups, self._budget.cost)
        self.kept = self._budget.allocate(found, ratio)
        self.channels.keep_best(found, self.kept)

    def project(self) -> None:
        """Zero the channels that U sets to zero."""
        for group, gone in zip(self._removable.groups, self.channels.dropped(), strict=True):
            zero(self._removable.model, group, gone)


def scores(model: nn.Module, groups: Sequence[ChannelGroup], cost: CostModel) -> list[Tensor]:
    """What every channel of ``groups`` is worth for what it costs: one (channels,) tensor a group."""
    saved = (cost.saved_per_channel() / cost.total()).clip(1e-12)
    return [saliency(model, group) / share**0.5 for group, share in zip(groups, saved, strict=True)]
