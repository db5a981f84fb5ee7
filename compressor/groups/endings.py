"""Where residual branches end: at layers after which nothing is left of zero channels but a constant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from compressor.channels import Branch, ChannelGroup, Ending, within
from compressor.equivalence import outputs
from compressor.groups.graph import Graph
from compressor.groups.trial import zeros
from compressor.hooks import hooked
from compressor.inputs import Examples
from compressor.layer_kinds import PRODUCERS, channel_axis
from compressor.surgery.branches import Left, agreed, left_of

# A group around which that many others end is no block but a trunk of blocks.
BLOCKS = 2


@dataclass(frozen=True, eq=False)
class _Seed:
    """A group by itself: the layers that read it, and the operations that they are."""

    group: ChannelGroup
    readers: tuple[str, ...]
    nodes: frozenset[int]


class Finder:
    """What may be a branch of ``model``, by what depends on what."""

    def __init__(self, model: nn.Module, groups: Sequence[ChannelGroup], inputs: Examples) -> None:
        self._model, self._inputs = model, inputs
        self._groups = [group for group in groups if group.prunable]
        self._modules = dict(model.named_modules())
        names = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
        self._single = {name for name, module in self._modules.items() if names[id(module)] == 1}
        # They read the weights of all their parts, and add sequences of several lengths, which nothing spreads over.
        self._nested = [
            name
            for name, module in self._modules.items()
            if isinstance(module, nn.TransformerEncoder) and module.use_nested_tensor
        ]
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
        return [one for one in found if not any(one is not other and _inside(one, other) for other in found)]

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
        same = {key: agreed(given) for key, given in by_axis.items() if len(given) == calls}
        return {key: left for key, left in same.items() if left is not None}

    def _ending(
        self, reader: str, module: str, norm: str | None, seen: Mapping[tuple[str, int], Left]
    ) -> Ending | None:
        if not seen.keys() & {(module, 1), (module, -1)}:
            return None
        last = reader if module == reader else self._last_in(module)
        if last is None:
            return None
        own = channel_axis(self._modules[last])
        for axis in (own, -1 if own == 1 else 1):
            left = seen.get((module, axis))
            if left is not None and module == reader:
                return Ending(module, reader, axis, norm if norm is not None and (norm, axis) in seen else None)
            if left is not None and len(left.values) == _width(self._modules[last]):
                return Ending(module, last, axis)
        return None

    def _last_in(self, module: str) -> str | None:
        """The layer in ``module`` behind which its result is a constant, and nothing in it serves anything else."""
        alive = self._graph.alive(self._graph.made.get(module, ()))
        if any(self._graph.parameters.get(name) in alive for name in self._parameters_in(module)):
            return None
        last = None
        for reader in dict.fromkeys(name for seed in self._seeds for name in seed.readers if within(name, module)):
            behind = self._graph.alive(self._graph.made[reader], self._graph.made.get(module, ()))
            if behind & self._graph.sources:
                continue
            if last is None or set(self._graph.made[last]) & self._graph.alive((), self._graph.made[reader]):
                last = reader
        return last

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
        if any(within(one.module, name) for one in endings for name in self._nested):
            return None
        gone = self._gone(alive, endings)
        bare = Branch(seeds[0].group.name, (), tuple(endings), tuple(gone))
        members = [group for group in self._groups if all(bare.holds(m.module) for m in group.members)]
        names = {group.name for group in members}
        if (
            not all(seed.group.name in names for seed in seeds)
            or self._shares(bare)
            or not all(_covered(self._modules[name], name, members) for seed in seeds for name in seed.readers)
        ):
            return None
        return replace(bare, name=members[0].name, groups=tuple(group.name for group in members))

    def _shares(self, branch: Branch) -> bool:
        """Whether one of its parameters is held by another module too."""
        holders: dict[int, set[bool]] = {}
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            holders.setdefault(id(parameter), set()).add(branch.holds(name.rpartition(".")[0]))
        return any(len(held) > 1 for held in holders.values())

    def _gone(self, alive: Collection[int], endings: Sequence[Ending]) -> list[str]:
        """The largest modules that have parameters and serve nothing that is alive, but for those at the end."""
        ends = {part for one in endings for part in (one.module, one.norm) if part is not None}
        found: list[str] = []
        for name in self._modules:
            if not name or any(within(name, other) for other in [*found, *ends]):
                continue
            parameters = self._parameters_in(name)
            dead = parameters and not any(self._graph.parameters.get(one) in alive for one in parameters)
            called = name in self._graph.made and not set(self._graph.made[name]) & set(alive)
            if dead and called and name in self._single and not any(within(end, name) for end in ends):
                found.append(name)
        return found


def _inside(one: Branch, other: Branch) -> bool:
    return all(other.holds(ending.module) for ending in one.endings) and set(one.groups) <= set(other.groups)


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
