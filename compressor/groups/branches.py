"""Residual branches: the groups that can lose all their channels, since what they made then is a constant.

One forward pass says what depends on what, a second one, in which the channels of all branches are zero, where their
outputs become constant, and a third one, with constants there, whether that changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from compressor.channels import Branch, ChannelGroup, Ending
from compressor.equivalence import outputs, relative_difference
from compressor.groups.graph import Graph
from compressor.groups.training_only import training_outputs
from compressor.groups.trial import zeros
from compressor.hooks import hooked
from compressor.inputs import Examples
from compressor.layer_kinds import PRODUCERS, channel_axis
from compressor.precision import limit_of
from compressor.products import multiplying, product_name
from compressor.surgery.branches import Left, bypassed, left_of

# A group around which that many others end is no block but a trunk of blocks.
BLOCKS = 2
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
        finder = _Finder(model, groups, inputs)
    except Exception:  # whatever the network's code raises where it is to be differentiated
        return tuple(groups)
    check = _Check(model, groups, inputs, switches)
    found = check.sound(finder.branches(), generator)
    of_group = {name: branch for branch in found for name in branch.groups}
    return tuple(replace(group, branch=of_group.get(group.name)) for group in groups)


@dataclass(frozen=True, eq=False)
class _Seed:
    """A group by itself: the layers that read it, and the operations that they are."""

    group: ChannelGroup
    readers: tuple[str, ...]
    nodes: frozenset[int]


class _Finder:
    """What may be a branch of ``model``, by what depends on what."""

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], inputs: Examples) -> None:
        self._model, self._inputs = model, inputs
        self._groups = [group for group in groups if group.prunable]
        self._modules = dict(model.named_modules())
        names = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
        self._single = {name for name, module in self._modules.items() if names[id(module)] == 1}
        self._seeds: list[_Seed] = []
        if any(self._readers(group) for group in self._groups):
            self._graph = Graph(model, inputs)
            self._seeds = self._without_trunks(self._harmless())

    def branches(self) -> list[Branch]:
        """The branches, of which all can go at once."""
        if not self._seeds:
            return []
        found: list[Branch] = []
        removed: set[int] = set()
        for seeds, endings in self._joined_by_endings(self._endings()):
            branch = self._branch(seeds, endings)
            nodes = self._nodes(endings)
            if branch is not None and self._graph.depends(removed | nodes):
                found.append(branch)
                removed |= nodes
        outer = [one for one in found if not any(one is not other and _inside(one, other) for other in found)]
        return _tied_together(outer, self._groups)

    def _readers(self, group: ChannelGroup) -> tuple[str, ...]:
        """The layers that read the group; none where they read something else as well."""
        readers = tuple(dict.fromkeys(member.module for member in group.members if member.role == "consumer"))
        made = {member.module for member in group.members if member.role == "producer"}
        if made & set(readers) or not all(isinstance(self._modules[name], PRODUCERS) for name in readers):
            return ()
        return readers

    def _harmless(self) -> list[_Seed]:
        """The groups without which all outputs still depend on the inputs."""
        seeds: list[_Seed] = []
        removed: set[int] = set()
        calls = len(self._inputs.calls)
        for group in self._groups:
            readers = self._readers(group)
            nodes = {node for name in readers for node in self._graph.made.get(name, ())}
            once = all(len(self._graph.made.get(name, ())) == calls for name in readers)
            if readers and once and self._graph.sources and self._graph.depends(removed | nodes):
                seeds.append(_Seed(group, readers, frozenset(nodes)))
                removed |= nodes
        return seeds

    def _without_trunks(self, seeds: Sequence[_Seed]) -> list[_Seed]:
        """Not those around whole rows of blocks, of which each can go by itself."""
        return [seed for seed in seeds if len(self._blocks_in(seed, seeds)) < BLOCKS]

    def _blocks_in(self, outer: _Seed, seeds: Sequence[_Seed]) -> list[_Seed]:
        alive = self._graph.alive(outer.nodes)
        inside = [seed for seed in seeds if seed is not outer and not seed.nodes & alive]
        inside = [seed for seed in inside if self._graph.depends(seed.nodes, outer.nodes)]
        reached = {seed.group.name: self._graph.alive(seed.nodes) for seed in inside}
        return [seed for seed in inside if all(one is seed or seed.nodes & reached[one.group.name] for one in inside)]

    def _endings(self) -> dict[str, Ending]:
        """By reader where it ends in a constant, when the channels of all seeds are zero."""
        groups = [seed.group for seed in self._seeds]
        names = dict.fromkeys(name for seed in self._seeds for name in seed.readers)
        norms = {m.module: m.feeds for group in self._groups for m in group.members if m.role == "producer" and m.feeds}
        around = {name: [*_above(name), name] for name in names}
        asked = {part for parts in around.values() for part in parts} | set(norms.values())
        places = [Ending(name, name, axis) for name in sorted(asked & self._single) for axis in (1, -1)]
        with zeros(self._model, groups, {group.name: torch.arange(group.channels) for group in groups}):
            seen = self._constants(places)
        found = {}
        for name, parts in around.items():
            for part in parts:
                if (ending := self._ending(name, part, norms.get(name), seen)) is not None:
                    found[name] = ending
                    break
        return found

    def _constants(self, places: Sequence[Ending]) -> Mapping[tuple[str, int], Left]:
        """What modules give as constants, by name and the axis of channels."""
        by_axis: dict[tuple[str, int], list[Left | None]] = {(one.module, one.axis): [] for one in places}

        def watch(name: str, axis: int) -> Any:
            def hook(module: nn.Module, args: tuple[object, ...], out: object) -> None:
                by_axis[name, axis].append(left_of(out, axis))

            return hook

        with hooked(self._modules[one.module].register_forward_hook(watch(one.module, one.axis)) for one in places):
            outputs(self._model, self._inputs)
        calls = len(self._inputs.calls)
        return {
            key: given[0]
            for key, given in by_axis.items()
            if len(given) == calls and given[0] is not None and None not in given
        }

    def _ending(
        self, reader: str, module: str, norm: str | None, seen: Mapping[tuple[str, int], Left]
    ) -> Ending | None:
        own = channel_axis(self._modules[reader])
        for axis in (own, -1 if own == 1 else 1):
            left = seen.get((module, axis))
            if left is None:
                continue
            if module == reader:
                behind = norm if norm is not None and (norm, axis) in seen else None
                return Ending(module, reader, axis, behind)
            if len(left.values) == _width(self._modules[reader]) and self._wholly_gone(module):
                return Ending(module, reader, axis)
        return None

    def _wholly_gone(self, module: str) -> bool:
        """Whether nothing in the module is used elsewhere, once its result is a constant."""
        alive = self._graph.alive(self._graph.made.get(module, ()))
        return not any(self._graph.parameters.get(name) in alive for name in self._parameters_in(module))

    def _parameters_in(self, module: str) -> list[str]:
        return [f"{module}.{name}" for name, _ in self._modules[module].named_parameters()]

    def _nodes(self, endings: Collection[Ending]) -> set[int]:
        return {node for one in endings for node in self._graph.made.get(one.norm or one.module, ())}

    def _joined_by_endings(self, endings: Mapping[str, Ending]) -> Iterator[tuple[list[_Seed], list[Ending]]]:
        """Groups that end at the same places, and these; later ones first, since they lie around others."""
        left = [seed for seed in self._seeds if all(name in endings for name in seed.readers)]
        parts: list[tuple[list[_Seed], set[Ending]]] = []
        for seed in left:
            ends = {endings[name] for name in seed.readers}
            touching = [part for part in parts if {one.module for one in part[1]} & {one.module for one in ends}]
            parts = [part for part in parts if part not in touching]
            parts.append(([*(s for part in touching for s in part[0]), seed], ends.union(*(p[1] for p in touching))))
        for seeds, ends in parts:
            yield seeds, sorted({one.module: one for one in ends}.values(), key=lambda one: one.module)

    def _branch(self, seeds: Sequence[_Seed], endings: Sequence[Ending]) -> Branch | None:
        """The branch that ends there with all that serves nothing else; None where something stands in the way."""
        alive = self._graph.alive(self._nodes(endings))
        # Not those that lie before others.
        endings = [one for one in endings if self._graph.read(self._nodes([one]), alive)]
        nodes = self._nodes(endings)
        if any(self._graph.joined(node) for node in nodes) or not {one.module for one in endings} <= self._single:
            return None
        gone = self._gone(alive, endings)
        bare = Branch(seeds[0].group.name, (), tuple(endings), tuple(gone))
        members = [group for group in self._groups if all(bare.holds(m.module) for m in group.members)]
        names = {group.name for group in members}
        if not all(seed.group.name in names for seed in seeds) or not all(
            _covered(self._modules[name], name, members) for seed in seeds for name in seed.readers
        ):
            return None
        return replace(bare, name=members[0].name, groups=tuple(group.name for group in members))

    def _gone(self, alive: Collection[int], endings: Sequence[Ending]) -> list[str]:
        """The largest modules that have parameters and serve nothing that is alive, but for those at the end."""
        ends = {part for one in endings for part in (one.module, one.norm) if part is not None}
        found: list[str] = []
        for name in self._modules:
            if not name or any(_within(name, other) for other in [*found, *ends]):
                continue
            parameters = self._parameters_in(name)
            dead = parameters and not any(self._graph.parameters.get(one) in alive for one in parameters)
            called = name in self._graph.made and not set(self._graph.made[name]) & set(alive)
            if dead and called and name in self._single and not any(_within(end, name) for end in ends):
                found.append(name)
        return found


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


def _inside(one: Branch, other: Branch) -> bool:
    return all(other.holds(ending.module) for ending in one.endings) and set(one.groups) <= set(other.groups)


def _within(name: str, above: str) -> bool:
    return name == above or name.startswith(f"{above}.")


def _above(name: str) -> list[str]:
    """The modules around that one, the outermost first, without the network itself."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def _width(reader: nn.Module) -> int:
    return int(getattr(reader, "out_features", getattr(reader, "out_channels", 0)))


def _covered(module: nn.Module, name: str, groups: Sequence[ChannelGroup]) -> bool:
    """Whether all that a layer reads is made by these groups."""
    places = {
        place
        for group in groups
        for member in group.members
        if member.module == name and member.role == "consumer"
        for place in member.index.flatten().tolist()
    }
    return len(places) == getattr(module, "in_features", getattr(module, "in_channels", -1))
