"""Method budget: which channels survive, and the penalty on the others."""

from __future__ import annotations

from torch import Tensor

from compressor.alignment import Alignment
from compressor.errors import TargetNotMet
from compressor.groups import zero
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
            raise TargetNotMet(f"no channel of this network can be removed ({removable.excluded})")
        self.target, self._removable = target, removable
        cost = removable.cost(target.kind)
        self._budget = Budget(cost, align)
        self._budget.check(target)
        self._saved = (cost.saved_per_channel() / cost.total()).clip(1e-12)
        self.channels = Channels(removable.model, removable.groups, penalty.phi)
        self.kept = [group.channels for group in removable.groups]

    def select(self, ratio: float) -> None:
        """Choose the survivors of a budget from the weights as they are."""
        scores = self._scores()
        self.kept = self._budget.allocate(scores, ratio)
        self.channels.keep_best(scores, self.kept)

    def project(self) -> None:
        """Zero the channels that U sets to zero."""
        for group, gone in zip(self._removable.groups, self.channels.dropped(), strict=True):
            zero(self._removable.model, group, gone)

    def _scores(self) -> list[Tensor]:
        model, groups = self._removable.model, self._removable.groups
        return [saliency(model, group) / saved**0.5 for group, saved in zip(groups, self._saved, strict=True)]
