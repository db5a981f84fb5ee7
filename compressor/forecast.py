"""What a network would cost without some of its channels, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor, nn

from compressor.alignment import Alignment
from compressor.channels import branches, ties
from compressor.costs import CostModel, Kind, cost_model
from compressor.equivalence import Inputs
from compressor.groups import ChannelGroup
from compressor.records.stages import Prediction
from compressor.saliency.weights import Weights
from compressor.splitting.budget import Budget
from compressor.splitting.selection import scores

TARGETS = (0.75, 0.5, 0.25)


class Forecast:
    """Costs of ``model`` as functions of the channels kept of all its ``groups``, excluded ones too."""

    def __init__(
        self,
        model: nn.Module,
        example_input: Inputs,
        groups: Sequence[ChannelGroup],
        alignment: Alignment,
        *,
        keep_blocks: bool = False,
    ) -> None:
        self._model, self._groups, self._alignment, self._keep_blocks = model, groups, alignment, keep_blocks
        self.macs = cost_model(model, example_input, groups, "macs")
        self.parameters = cost_model(model, example_input, groups, "params")

    def carried(self, chosen: Sequence[bool], kind: Kind) -> int:
        """What would go with all channels of the ``chosen`` groups, the others kept whole."""
        return self._cost(kind).carried(chosen)

    def least(self, chosen: Sequence[bool], kind: Kind) -> int | None:
        """The cost of the smallest aligned network when the ``chosen`` groups shrink; None when there are none."""
        budget = self._budget(chosen, kind)
        return budget.costs[0].total(budget.least) if any(chosen) else None

    def predictions(self) -> tuple[Prediction, ...]:
        """What `fine_tune` would keep for each of `TARGETS` by the weights as they are; training revises that."""
        return tuple(map(self._prediction, TARGETS))

    def _prediction(self, target: float) -> Prediction:
        prunable = [group.prunable for group in self._groups]
        budget, parameters = self._budget(prunable, "macs"), self.parameters.of(prunable)
        if not any(prunable) or budget.ratios(budget.least)[0] > target:
            return Prediction(target=target, macs=None, parameters=None, channels=None)
        kept = budget.allocate(self._scores, [target]).kept
        names = [group.name for group in self._groups if group.prunable]
        return Prediction(
            target=target,
            macs=budget.costs[0].total(kept),
            parameters=parameters.total(kept),
            channels=dict(zip(names, map(int, kept), strict=True)),
        )

    @cached_property
    def _scores(self) -> list[Tensor]:
        groups = [group for group in self._groups if group.prunable]
        return scores(Weights(self._model, groups), self.macs.of([group.prunable for group in self._groups]))

    def _budget(self, chosen: Sequence[bool], kind: Kind) -> Budget:
        groups = [group for group, wanted in zip(self._groups, chosen, strict=True) if wanted]
        blocks = () if self._keep_blocks else tuple(branches(groups).values())
        return Budget([self._cost(kind).of(chosen)], self._alignment, ties(groups), blocks)

    def _cost(self, kind: Kind) -> CostModel:
        return self.macs if kind == "macs" else self.parameters
