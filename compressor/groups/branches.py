"""Residual branches: the groups that can lose all their channels, since what they made then is a constant.

One forward pass says what depends on what, a second one, in which the channels of all branches are zero, where their
outputs become constant (`endings.py`), and further ones, with constants there, whether that changes anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressor.channels import Branch, ChannelGroup
from compressor.equivalence import outputs, relative_difference
from compressor.groups.endings import Finder
from compressor.groups.training_only import training_outputs
from compressor.groups.trial import zeros
from compressor.inputs import Examples
from compressor.precision import limit_of
from compressor.products import multiplying, product_name
from compressor.surgery.branches import bypassed

# How often halves are tried where not all branches go well together.
HALVES = 16


def with_branches(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    inputs: Examples,
    switches: Sequence[str],
    generator: torch.Generator,
) -> tuple[ChannelGroup, ...]:
    """The same groups, those that can lose all their channels with the `Branch` with which they do.

    ``model`` is left as it is; ``switches`` turn on what only training runs.
    """
    try:
        finder = Finder(model, groups, inputs)
    except Exception:  # whatever the network's code raises where it is to be differentiated
        return tuple(groups)
    check = _Check(model, groups, inputs, switches)
    found = check.sound(_tied_together(finder.branches(), groups), generator)
    of_group = {name: branch for branch in found for name in branch.groups}
    return tuple(replace(group, branch=of_group.get(group.name)) for group in groups)


class _Check:
    """Whether networks without branches give what they give when the channels of the branches are zero."""

    def __init__(
        self, model: nn.Module, groups: Sequence[ChannelGroup], inputs: Examples, switches: Sequence[str]
    ) -> None:
        self._model, self._inputs, self._switches = model, inputs, switches
        self._groups = {group.name: group for group in groups}

    def sound(self, branches: Sequence[Branch], generator: torch.Generator) -> list[Branch]:
        """Those that can go, all together and some of them alone."""
        left, tries = self._sound(list(branches), HALVES)
        if not left or (tries < HALVES and not self._equal(left)):
            return []
        some = [branch for branch in left if torch.rand((), generator=generator) < 1 / 2]
        return left if not some or self._equal(some) else []

    def _sound(self, branches: list[Branch], tries: int) -> tuple[list[Branch], int]:
        if not branches or tries < 1:
            return [], tries
        if self._equal(branches):
            return branches, tries
        if len(branches) == 1:
            return [], tries - 1
        found, tries = [], tries - 1
        middle = len(branches) // 2
        for half in (branches[:middle], branches[middle:]):
            good, tries = self._sound(half, tries)
            found += good
        return found, tries

    def _equal(self, branches: Sequence[Branch]) -> bool:
        groups = [self._groups[name] for branch in branches for name in branch.groups]
        with zeros(self._model, groups, {group.name: torch.arange(group.channels) for group in groups}):
            expected = outputs(self._model, self._inputs)
            expected += training_outputs(self._model, self._inputs, self._switches)
            products = {product_name(one.module, one.number) for group in groups for one in group.products}
            try:
                smaller = bypassed(self._model, branches, self._inputs)
                return any(self._gives(expected, small, products) for small in smaller)
            except Exception:  # whatever the network's code raises where layers are gone
                return False

    def _gives(self, expected: Sequence[Tensor], small: nn.Module, products: Collection[str]) -> bool:
        """Whether a network without branches gives that, and computes none of the ``products`` of their groups."""
        left: set[str] = set()
        try:
            with multiplying(small, lambda name, _: left.add(name)):
                actual = outputs(small, self._inputs)
            actual += training_outputs(small, self._inputs, self._switches)
        except Exception:  # whatever the network's code raises where it needs more than a constant
            return False
        limit = limit_of(self._inputs.precision)
        same = all(relative_difference(one, other) <= limit for one, other in zip(expected, actual, strict=True))
        return same and left.isdisjoint(products)


def _tied_together(branches: Sequence[Branch], groups: Sequence[ChannelGroup]) -> list[Branch]:
    """Branches with groups that lose equally many channels as one; none where one of these is in no branch."""
    groups = [group for group in groups if group.prunable]
    ties = {group.name: group.tie for group in groups}
    everywhere: dict[str | None, set[str]] = {}
    for group in groups:
        everywhere.setdefault(group.tie, set()).add(group.name)
    found: list[Branch] = []
    for branch in branches:
        tied = {ties[name] for name in branch.groups} - {None}
        others = [one for one in found if tied & {ties[name] for name in one.groups}]
        for other in others:
            branch = _united(other, branch)
        found = [one for one in found if one not in others] + [branch]
    return [
        branch
        for branch in found
        if all(everywhere[ties[name]] <= set(branch.groups) for name in branch.groups if ties[name] is not None)
    ]


def _united(one: Branch, other: Branch) -> Branch:
    return Branch(one.name, one.groups + other.groups, one.endings + other.endings, one.gone + other.gone)
