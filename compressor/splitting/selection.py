"""Method budget: which channels survive."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compressor.alignment import Alignment
from compressor.channels import branches, ties
from compressor.costs import CostModel
from compressor.errors import TargetNotMet
from compressor.groups import ChannelGroup
from compressor.splitting.budget import Budget, Target
from compressor.splitting.dropped import DroppedChannels
from compressor.splitting.prunable import Prunable
from compressor.splitting.saliency import saliency


class Selection:
    """The most salient channels that fit a budget survive, the others are dropped.

    Unless they are to ``keep_blocks``, all channels of a branch may be dropped. Raises `TargetNotMet` when the target
    cannot be reached.
    """

    def __init__(self, prunable: Prunable, target: Target, align: Alignment, *, keep_blocks: bool = False) -> None:
        if not prunable.groups:
            why = prunable.obstacles(target.kind) or ": it has no convolution, linear or recurrent layer"
            raise TargetNotMet(f"no channel of this network can be removed{why}")
        self.target, self._prunable = target, prunable
        blocks = branches(prunable.groups)
        droppable = () if keep_blocks else tuple(blocks.values())
        self._budget = Budget(prunable.cost(target.kind), align, ties(prunable.groups), droppable)
        least = self._budget.ratio(self._budget.least)
        if least > target.ratio:
            raise TargetNotMet(
                f"{target} asked, {least:.3f} is the least that can be reached with --align {align}, "
                f"which keeps {align.steps} channels of every group{_kept(keep_blocks, len(blocks))}"
                f"{prunable.obstacles(target.kind)}"
            )
        self.channels = DroppedChannels(prunable.model, prunable.groups)
        self.kept = [group.channels for group in prunable.groups]

    def select(self, ratio: float) -> None:
        """Choose the survivors of a budget from the weights as they are."""
        worth = scores(self._prunable.model, self._prunable.groups, self._budget.cost)
        self.kept = self._budget.allocate(worth, ratio)
        self.channels.keep_best(worth, self.kept)


def _kept(keep_blocks: bool, blocks: int) -> str:
    """What is said of branches in the message that a target is out of reach."""
    if not blocks:
        return ""
    return ", and with --keep-blocks of every block" if keep_blocks else " that goes with no whole block"


def scores(model: nn.Module, groups: Sequence[ChannelGroup], cost: CostModel) -> list[Tensor]:
    """What every channel of ``groups`` is worth for what it costs: one (channels,) tensor a group."""
    saved = (cost.saved_per_channel() / cost.total()).clip(1e-12)
    return [saliency(model, group) / share**0.5 for group, share in zip(groups, saved, strict=True)]
