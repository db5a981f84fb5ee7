"""Method budget: which channels survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any

from torch import Tensor

from compressor.alignment import Alignment
from compressor.channels import branches, ties
from compressor.costs import CostModel, Kind
from compressor.errors import TargetNotMet, UsageError
from compressor.groups import ChannelGroup
from compressor.ranks import Ranks
from compressor.records.costs import Aims
from compressor.records.run import Target as Outcome
from compressor.records.run import TargetKind
from compressor.saliency import DEFAULT, saliency
from compressor.saliency.base import Saliency
from compressor.saliency.weights import Weights
from compressor.splitting.budget import Budget, Choice
from compressor.splitting.config import SplittingConfig
from compressor.splitting.dropped import DroppedChannels, beyond_best
from compressor.splitting.prunable import Prunable
from compressor.splitting.spreading import Spread, spread
from compressor.splitting.targets import Limit


class Selection:
    """The channels that are worth most within the limits survive, the others are dropped.

    Unless ``config`` is to keep blocks, all channels of a branch may be dropped. What they are worth says its saliency,
    for which ``seed`` is, and until that has what it learns from, their weights. Of ``ranks`` the first chooses.
    Raises `TargetNotMet` when a target cannot be reached.
    """

    def __init__(
        self,
        prunable: Prunable,
        config: SplittingConfig,
        aims: Aims | None = None,
        *,
        ranks: Ranks | None = None,
        seed: int = 0,
    ) -> None:
        targets, align, keep_blocks = config.targets, Alignment.parse(config.align), config.keep_blocks
        if not prunable.groups:
            why = prunable.obstacles(_counted(targets[0].kind)) or ": it has no convolution, linear or recurrent layer"
            raise TargetNotMet(f"no channel of this network can be removed{why}")
        self.prunable, self._ranks = prunable, ranks
        self.limits = [prunable.limit(target, aims or Aims()) for target in targets]
        blocks = branches(prunable.groups)
        droppable = () if keep_blocks else tuple(blocks.values())
        self.budget = Budget([limit.cost for limit in self.limits], align, ties(prunable.groups), droppable)
        self._least = f"with --align {align}, which keeps {align.steps} channels of every group"
        self._least += _kept(keep_blocks, len(blocks))
        self._check_limits()
        self.saliency: Saliency = saliency(config.saliency or DEFAULT, prunable.model, prunable.groups, seed=seed)
        self._weights = Weights(prunable.model, prunable.groups)
        self.channels = DroppedChannels(prunable.model, prunable.groups)
        self._channels = [group.channels for group in prunable.groups]
        self.choice = Choice(self._channels, 1.0, 1.0)
        # By whose scores channels are chosen, whatever the training says, once it was tried out.
        self.spread: Spread | None = None
        self._ties, self._seed = ties(prunable.groups), seed

    def _check_limits(self) -> None:
        for limit in self.limits:
            if not limit.outcome(self.budget.least).met:
                least = limit.target.shown(limit.reached(self.budget.least))
                raise TargetNotMet(
                    f"{limit.target} asked, {least} is the least that can be reached {self._least}"
                    f"{self.prunable.obstacles(_counted(limit.target.kind))}"
                )

    def within(self, aims: Aims) -> Selection:
        """Itself, from now on within what ``aims`` allow; `TargetNotMet` where that is too little."""
        self.limits = [replace(one, share=aims.shares.get(one.target.kind, one.share)) for one in self.limits]
        self._check_limits()
        return self

    @property
    def shares(self) -> dict[TargetKind, float]:
        """The share of the foretold cost that each target allows."""
        return {limit.target.kind: limit.share for limit in self.limits}

    @property
    def kept(self) -> list[int]:
        """How many channels of each group survive."""
        return self.choice.kept

    def state_dict(self) -> dict[str, Any]:
        """What is kept and dropped, what that is worth, and what the saliency has learned."""
        return {
            "kept": list(self.kept),
            "saliency": self.saliency.state_dict(),
            "worth": (self.choice.value, self.choice.bound),
            # A tuple is one thing for torch.distributed.checkpoint, which cannot load a part that is not there yet.
            "spread": None if self.spread is None else astuple(self.spread),
            "dropped": self.channels.dropped(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.saliency.load_state_dict(state["saliency"])
        self.choice = Choice(list(state["kept"]), *state["worth"])
        self.spread = Spread(*state["spread"]) if state["spread"] else None
        if self.spread is not None and [len(score) for score in self.spread.scores] != self._channels:
            raise UsageError("the state belongs to another splitting: it has other groups of channels")
        self.channels.set(state["dropped"])

    def select(self, ratio: Callable[[float], float] = float) -> None:
        """Choose the survivors from the weights as they are; ``ratio`` gives what each share allows by now."""
        shares = [ratio(limit.share) for limit in self.limits]
        # On every rank, where weights lie in shards; each may know other rows.
        worth = self._worth(shares) if self.spread is None else self.spread.scores

        def chosen() -> tuple[list[Tensor], Choice]:
            return worth, self.budget.allocate(worth, shares)

        # BatchNorm's statistics, and costs that were measured, differ from rank to rank.
        worth, self.choice = chosen() if self._ranks is None else self._ranks.of_first(chosen)
        self.channels.keep_best(worth, self.kept)

    def follow(self) -> None:
        """Go on with the parameters that the network has now: `fully_shard` has put others in their place."""
        dropped = self.channels.dropped()
        self.channels = DroppedChannels(self.prunable.model, self.prunable.groups)
        self.channels.set(dropped)
        self.saliency.follow()

    def settle(self, loss: Callable[[Sequence[Tensor]], float], most: int) -> None:
        """Spread the channels over the groups so that ``loss`` is least, of at most so many tries, and keep to that.

        ``loss`` gets which channels of every group would be dropped: bool (channels,) each.
        """
        shares = [limit.share for limit in self.limits]
        worth = self._worth(shares)

        def tried(kept: Sequence[int]) -> float:
            return loss(beyond_best(worth, kept))

        def choose(scores: Sequence[Tensor]) -> list[int]:
            return self.budget.allocate(scores, shares).kept

        self.spread = spread(worth, self._ties, choose, tried, most=most, seed=self._seed)

    def _worth(self, shares: Sequence[float]) -> list[Tensor]:
        known = self.saliency if self.saliency.ready else self._weights
        return scores(known, self.budget.tightest(shares))

    def outcomes(self, kept: Sequence[int]) -> list[Outcome]:
        """What ``kept`` channels come to in every target, and what the next wider network would have."""
        groups, wider = self.prunable.groups, list(self.budget.wider(kept))
        found = []
        for limit in self.limits:
            above = [(limit.reached(more), more) for more in wider if not limit.outcome(more).met]
            nearest = min(above, key=lambda one: one[0], default=None)
            found.append(limit.outcome(kept, "" if nearest is None else _following(limit, nearest, kept, groups)))
        return found


def _following(
    limit: Limit, nearest: tuple[float, list[int]], kept: Sequence[int], groups: Sequence[ChannelGroup]
) -> str:
    reached, more = nearest
    place = next(place for place, (one, other) in enumerate(zip(kept, more, strict=True)) if one != other)
    return f"{more[place]} instead of {kept[place]} channels of {groups[place].name}: {limit.target.shown(reached)}"


def _counted(kind: TargetKind) -> Kind:
    """The cost by which obstacles are named: they are the same for what is only measured."""
    return "params" if kind in {"params", "size"} else "macs"


def _kept(keep_blocks: bool, blocks: int) -> str:
    """What is said of branches in the message that a target is out of reach."""
    if not blocks:
        return ""
    return ", and with --keep-blocks of every block" if keep_blocks else " that goes with no whole block"


def scores(known: Saliency, cost: CostModel) -> list[Tensor]:
    """What every channel is worth for what it costs: one (channels,) tensor a group."""
    power = known.exponent - 1
    return [worth * float(share) ** power for worth, share in zip(known.values(), cost.share_per_channel, strict=True)]
