"""What every splitting does: attach to the optimisers that train the model, count their steps, project."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.channels import vanishing_tensors
from compressor.computed_weights import trainable
from compressor.equivalence import Inputs
from compressor.errors import CompressorWarning, UsageError
from compressor.groups import ChannelGroup, is_zero, unprefixed, unwrapped
from compressor.ranks import Ranks
from compressor.records import Sparsity
from compressor.records.run import Target
from compressor.records.stages import Projection
from compressor.shards import any_sharded, local, refuse_shards, reshard
from compressor.splitting.agreement import agree, refuse_other_weights
from compressor.splitting.cautions import of_gap, of_zeros
from compressor.splitting.config import SplittingConfig
from compressor.splitting.layouts import check_shards, refuse_flat
from compressor.splitting.optimizers import Handle, check_optimizers, hook_in, innermost
from compressor.splitting.paper_groups import sparsity
from compressor.splitting.penalised import penalised_weights, twin_of
from compressor.splitting.prunable import Prunable
from compressor.splitting.taken_back import relative_change, taken_back
from compressor.splitting.targets import binding
from compressor.splitting.zero_target import share_of_zeros, surviving, total

# Below this a weight of W counts as zero, as in the code of Bui et al.
TOLERANCE = 1e-5


class SplittingBase(ABC):
    """A penalised model, the steps of its training, and its projection at the end."""

    # Whether `before_step` adds to the gradients.
    adds_to_gradients = False

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        example_input: Inputs,
        config: SplittingConfig,
        total_steps: int,
        groups: Sequence[ChannelGroup] | None,
    ) -> None:
        self.model, prefix = unwrapped(model)
        self.ranks = Ranks(model)
        refuse_shards(
            self.model, "make the splitting of the whole network, before fully_shard, and attach it after that"
        )
        trainable(self.model, wrapped="module." in prefix)
        self.config, self.total_steps, self.step = config, total_steps, 0
        self._weights = penalised_weights(self.model, example_input, config)
        known = None if groups is None else unprefixed(groups, prefix)
        self.prunable = Prunable(self.model, example_input, known, config)
        self._handles: list[RemovableHandle] = []

    def attach(self, *optimizers: Optimizer) -> Handle:
        """Act at every step of ``optimizers``, which together train everything that is penalised.

        A step is counted after each step of the last one given: where a loop steps several, it is the one that steps
        last. A step that a GradScaler skips is none. The handle's ``remove`` ends it. `UsageError` when this is
        attached already, or when a penalised parameter is trained by none of them.

        Where several processes train one network each attaches its own splitting, and all take equally many steps. At
        the first one they take over the state of the first rank; what it chooses later is chosen on all.

        After `torch.distributed.fsdp.fully_shard` this goes on with the parameters in shards, and lets go of the whole
        ones; `UsageError` for shards of another kind, or in the papers' methods. All that then asks other ranks for
        something, as projection and state do, is to be called on every rank.
        """
        if self._handles:
            raise UsageError("this splitting is attached already; call remove() of the handle that attach returned")
        self._follow()
        trained = [innermost(optimizer) for optimizer in optimizers]
        check_optimizers(self.model, self._moved(), trained)
        agree_once, compare_once = (cache(partial(do, self)) for do in (agree, refuse_other_weights))

        def before(optimizer: Optimizer) -> None:
            agree_once()
            self.before_step(optimizer)

        def after() -> None:
            compare_once()
            self.after_step()

        return hook_in(trained, before, after, self._handles, once=self.adds_to_gradients)

    @torch.no_grad()
    def project(self, model: nn.Module | None = None) -> Projection:
        """Make zeros exact, in the model that was trained or in ``model``, an averaged copy of it.

        Where a gap |W - P(W)| / |W| is left this changes outputs: a `CompressorWarning` says so before.
        """
        target = self._target(model)
        self._catch_up()
        before, gap = self.sparsity(), self.gap(model)
        told: list[str] = []

        def tell(texts: Iterable[str]) -> None:
            for text in texts:
                told.append(text)
                warnings.warn(text, CompressorWarning, stacklevel=4)

        tell(of_gap(gap, self.step, self.total_steps))
        entries = self._zero(target)
        weights = self._same_in(target)
        gone = [is_zero(target, group) for group in self.prunable.groups]
        zeros = share_of_zeros(weights, surviving(target, weights, self.prunable.groups, gone)) if weights else None
        tell(of_zeros(zeros, self.config.target_zeros))
        left = self.prunable.left(target)
        channels, macs, parameters = self.prunable.figures(left)
        outcomes = tuple(self._outcomes(left))
        return Projection(
            gap=gap,
            entries_zeroed=entries,
            died=sum(int(zeros.sum()) for zeros in gone) - self._dropped(),
            zeros=zeros,
            sparsity=before,
            channels=channels,
            macs=macs,
            parameters=parameters,
            target=binding(outcomes),
            targets=outcomes,
            optimality=self._optimality(),
            warnings=tuple(told),
        )

    @torch.no_grad()
    def zero(self, model: nn.Module) -> None:
        """Zero in ``model``, an averaged copy that goes on to follow the weights, what `project` would zero now."""
        self._zero(self._target(model))

    @torch.no_grad()
    def mask(self, model: nn.Module | None = None) -> int:
        """Set single weights to zero where V is, and return how many that were; the other weights stay W.

        In the methods where V takes over they become V. ``model`` is as in `project`.
        """
        target = self._target(model)
        weights = self._same_in(target)
        parts = [local(weight) for weight in weights]
        before = total([(part == 0).sum() for part in parts], weights)
        for part, v in zip(parts, self._v(), strict=False):
            if self.config.described.takes_over and target is self.model:
                part.copy_(v)
            else:
                part.masked_fill_(local(v) == 0, 0.0)
        return total([(part == 0).sum() for part in parts], weights) - before

    @torch.no_grad()
    def sparsity(self) -> dict[str, Sparsity]:
        """Zeros of W at 1e-5, and exact zeros of V where there is one."""
        kind = self.config.described.split_rows or "filters"
        shares = {f"W at {TOLERANCE:g}": sparsity(list(self._weights.values()), TOLERANCE, kind)}
        if v := self._v():
            shares["V"] = sparsity(v, kind=kind)
        return shares

    @property
    @abstractmethod
    def beta(self) -> float:
        """The weight of the splitting term now."""

    @property
    def macs_kept(self) -> float | None:
        """Share of the dense MACs that the selected channels keep; None when no channel is selected."""
        return None

    @torch.no_grad()
    def gap(self, model: nn.Module | None = None) -> float:
        """Distance of W from its projection: |W - P(W)| / |W| over all that is penalised or would be zeroed.

        ``model`` is as in `project`. Found by projecting and taking it back, so with a copy of these weights.
        """
        target = self._target(model)
        parameters = self._affected(target)
        with taken_back(parameters) as before:
            self._zero(target)
            return relative_change(parameters, before)

    @contextmanager
    @torch.no_grad()
    def zeroed(self) -> Iterator[None]:
        """While the block lasts the model is as `project` would leave it now."""
        model = self._target(None)
        with taken_back(self._affected(model)):
            self._zero(model)
            try:
                yield
            finally:
                reshard(model)

    @abstractmethod
    def before_step(self, optimizer: Optimizer) -> None:
        """Do what is due before a step of ``optimizer``; `attach` calls this."""

    @abstractmethod
    def after_step(self) -> None:
        """Count a step, and do what is due after it; `attach` calls this."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step reads, beside the model and its optimiser: plain data and tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, the model's own state being loaded beside it.

        `UsageError` when it belongs to a splitting with another configuration or length.
        """

    def settings(self) -> dict[str, Any]:
        """What must be the same where a state is taken and where it is loaded."""
        return {
            "format": 1,
            # Nothing in it is a dict: of one torch.distributed.checkpoint loads only what is there already.
            "config": {k: tuple(v.items()) if isinstance(v, dict) else v for k, v in self.config.to_plain().items()},
            "total_steps": self.total_steps,
            "weights": {name: list(weight.shape) for name, weight in self._weights.items()},
            "groups": {group.name: group.channels for group in self.prunable.groups},
        }

    def pool(self) -> None:  # noqa: B027
        """Bring together what the ranks have learned from data of their own before the first step."""

    @abstractmethod
    def _moved(self) -> list[Tensor]:
        """Every parameter that this moves."""

    @abstractmethod
    def _v(self) -> list[Tensor]:
        """V of each penalised weight; none where single weights carry no penalty."""

    @abstractmethod
    def _zero(self, model: nn.Module) -> int:
        """Zero what projection zeroes; how many single weights were not zero before."""

    def _follow(self) -> None:
        """Go on with the parameters that `fully_shard` has put in the place of those that the network had.

        `UsageError` where they lie in shards in which this does not find what it needs.
        """
        if not any_sharded(self.model):
            return
        if not self.config.described.target:
            refuse_shards(
                self.model,
                f"--method {self.config.method} needs whole weights: train with DistributedDataParallel, or use budget",
            )
        refuse_flat(self.model)
        reshard(self.model)
        now = dict(self.model.named_parameters(remove_duplicate=False))
        if missing := [name for name in self._weights if name not in now]:
            raise UsageError(
                f"the network has no parameter {missing[0]} any more; wrap or compile parts of it before the splitting "
                "is made"
            )
        if any(weight is not now[name] for name, weight in self._weights.items()):
            moved: set[Tensor] = {
                p for group in self.prunable.groups for p, _, _ in vanishing_tensors(self.model, group)
            }
            weights: dict[str, Tensor] = {name: now[name] for name in self._weights}
            moved |= set(weights.values())
            check_shards({name: parameter for name, parameter in now.items() if parameter in moved})
            self._weights = weights
            self._renew()

    def _renew(self) -> None:  # noqa: B027
        """Take over the parameters that the network has now."""

    def _target(self, model: nn.Module | None) -> nn.Module:
        """The model that was trained, or what it has for a twin in ``model``; with its shards in the modules."""
        self._follow()
        target = self.model if model is None else twin_of(self.model, model)
        reshard(target)
        return target

    def _outcomes(self, kept: Sequence[int]) -> list[Target]:
        """What ``kept`` channels of each group come to in every target."""
        return []

    def _optimality(self) -> float | None:
        """What the selected channels are worth, as a share of the bound; None without a selection."""
        return None

    def _dropped(self) -> int:
        """How many channels were dropped for a target."""
        return 0

    def _catch_up(self) -> None:  # noqa: B027
        """Do what is still due before a projection, when the training was cut short."""

    def _affected(self, model: nn.Module) -> list[Tensor]:
        """Every parameter of ``model`` that is penalised or that a projection can zero."""
        touched = {id(p) for group in self.prunable.groups for p, _, _ in vanishing_tensors(self.model, group)}
        touched |= {id(p) for p in self._moved()}
        names = [name for name, p in self.model.named_parameters() if id(p) in touched]
        parameters = dict(model.named_parameters())
        return [parameters[name] for name in names]

    def _same_in(self, model: nn.Module) -> list[Tensor]:
        """The weights of ``model`` that are penalised in the model that was trained."""
        if model is self.model:
            return list(self._weights.values())
        parameters = dict(model.named_parameters())
        return [parameters[name] for name in self._weights]
