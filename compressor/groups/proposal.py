"""Channel groups out of a trace: ids that are the same channel, channels that lie in the same modules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from compressor.channels import ChannelGroup, Member, Role
from compressor.equivalence import Inputs
from compressor.groups.channel_ids import distinct
from compressor.groups.dispatch import traced
from compressor.groups.operands import products_by_group
from compressor.groups.structure_reasons import opaque, problem, together
from compressor.groups.trace import OUTPUTS, Cut, Kind, Trace
from compressor.layer_kinds import MAKERS, is_matrix

# What a tensor is used for, the use that decides its role first.
USES: tuple[tuple[str, Role], ...] = (
    ("producer", "producer"),
    ("norm", "norm"),
    ("addend", "addend"),
    ("consumer", "consumer"),
    ("padding", "padding"),
    ("count", "count"),
    ("statistic", "norm"),
    ("follower", "follower"),
)

# Parts of one module that are members of their own.
SIDES: dict[Role, str] = {"consumer": "read", "reader": "read", "count": "counted"}

Key = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Proposal:
    """The groups of one reading of the network; ``sites[group name]`` are the cuts that its channels pass.

    ``kinds[cut]`` says which code makes the cut; the pieces of ``splits`` are tensors of their own.
    """

    groups: tuple[ChannelGroup, ...]
    sites: Mapping[str, tuple[int, ...]]
    kinds: Mapping[int, Kind]
    splits: Set[int]


def propose(
    model: nn.Module,
    inputs: Inputs,
    switches: Sequence[str] = (),
    cuts: Mapping[int, Cut] | None = None,
    undecided: Mapping[str, str] | None = None,
) -> Proposal:
    """Every group of coupled channels in the order of the modules, not yet probed; ``model`` is left as it is.

    With ``switches`` the parts that only training runs are followed too; ``undecided`` are modules whose channels stay,
    with the reason.
    """
    trace = traced(model, inputs, switches, cuts or {}, undecided)
    channel, reasons = trace.ids.resolve()
    places = _Places(trace, channel)
    alike: dict[tuple[bytes, str | None], list[int]] = defaultdict(list)
    for root in places.roots:
        alike[places.signature(root), reasons.get(root)].append(root)
    multiplied = np.zeros(len(channel), dtype=bool)
    for ids in trace.products:
        multiplied[channel[ids.numpy()]] = True
    passed = {site: np.unique(channel[distinct(ids)]) for site, ids in trace.sites.items()}
    builder = _Builder(model, trace)
    groups, sites = [], {}
    owner: dict[int, ChannelGroup] = {}
    for (_, reason), roots in alike.items():
        group = builder.group(places.of(roots), reason, multiplied=bool(multiplied[roots].all()))
        if group is not None:
            groups.append(group)
            # Where whole groups of a convolution can go one by one nothing else need be read into it.
            settled = trace.grouped - trace.cuts.keys() if len(roots) > 1 else ()
            passes = (site for site, there in passed.items() if np.isin(roots, there).any())
            sites[group.name] = tuple(site for site in passes if site not in settled)
            owner |= dict.fromkeys(roots, group)
    groups.sort(key=builder.order)
    lines = [channel[pieces.numpy()].tolist() for site, pieces in trace.pieces.items() if site not in trace.cuts]
    tied = _tied(groups, [[{id(g): g for g in map(owner.get, piece) if g} for piece in line] for line in lines])
    products = products_by_group(trace.operands, channel, owner)
    return Proposal(
        tuple(replace(g, tie=tied.get(g.name), products=tuple(products[g.name])) for g in groups),
        sites,
        trace.kinds,
        trace.splits,
    )


def _tied(groups: Sequence[ChannelGroup], lines: Sequence[Sequence[Mapping[int, ChannelGroup]]]) -> dict[str, str]:
    """By the name of a group the first of those that lose as many channels as it.

    Each line is an axis that is cut into equal pieces: the groups on every piece. Only where a piece is one group the
    others can follow it; the probe finds what must follow and cannot.
    """
    first = {group.name: group.name for group in groups}
    order = {group.name: place for place, group in enumerate(groups)}
    for pieces in lines:
        each = {group.name: group.channels for piece in pieces for group in piece.values()}
        if all(len(piece) == 1 for piece in pieces) and len(each) > 1 == len(set(each.values())):
            together = {first[name] for name in each}
            least = min(together, key=order.__getitem__)
            first |= {name: least for name, other in first.items() if other in together}
    sizes = Counter(first.values())
    return {name: tie for name, tie in first.items() if sizes[tie] > 1}


class _Places:
    """Where every channel lies, on which axes and at which places of each; ``roots`` are the channels as first met."""

    def __init__(self, trace: Trace, channel: NDArray[np.int64]) -> None:
        self._keys = list(trace.entries)
        sizes = [ids.numel() for ids in trace.entries.values()]
        nothing = np.zeros(0, np.int64)
        channels = np.concatenate([nothing, *(channel[ids.numpy()] for ids in trace.entries.values())])
        # One run for every channel, in it axis after axis.
        order = np.argsort(channels, kind="stable")
        self._axis = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._place = np.concatenate([nothing, *map(np.arange, sizes)])[order]
        known, met, counts = np.unique(channels, return_index=True, return_counts=True)
        stops = np.cumsum(counts)
        self._runs = dict(zip(known.tolist(), zip((stops - counts).tolist(), stops.tolist(), strict=True), strict=True))
        self.roots: list[int] = known[np.argsort(met)].tolist()

    def signature(self, root: int) -> bytes:
        """What is the same for channels that have as many places on the same axes."""
        start, stop = self._runs[root]
        return self._axis[start:stop].tobytes()

    def of(self, roots: Sequence[int]) -> dict[Key, torch.Tensor]:
        """The places (channels, k) on each axis of channels that lie on the same ones."""
        start, stop = self._runs[roots[0]]
        starts = np.array([self._runs[root][0] for root in roots])
        places = torch.from_numpy(self._place[starts[:, None] + np.arange(stop - start)])
        axes, columns = np.unique(self._axis[start:stop], return_index=True)
        pieces = torch.tensor_split(places, columns[1:].tolist(), dim=1)
        return {self._keys[axis]: piece for axis, piece in zip(axes, pieces, strict=True)}


class _Builder:
    """Turns channels into groups with names."""

    def __init__(self, model: nn.Module, trace: Trace) -> None:
        self._model = model
        self._trace = trace
        self._order = {name: place for place, (name, _) in enumerate(model.named_modules())}
        self._frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self._parameters = dict(model.named_parameters())
        self._taken: set[str] = set()

    def order(self, group: ChannelGroup) -> int:
        """The place of the first module that makes the group's channels."""
        # One that the network's own parameter makes is named after that.
        return self._order.get(group.name.partition("#")[0], 0)

    def group(self, places: Mapping[Key, torch.Tensor], reason: str | None, *, multiplied: bool) -> ChannelGroup | None:
        """The group of channels that have these ``places`` (channels, k) on each axis; None when no layer makes them.

        Those that are ``multiplied`` with each other, as queries and keys are, need no other layer to read them.
        """
        members = self._members(places)
        channels = len(next(iter(places.values())))
        made = _names(members, "producer")
        if reason != OUTPUTS:
            own = problem(self._frozen, members, made, multiplied=multiplied)
            reason = opaque(self._model, members) or reason or own
            reason = (together(self._model, members) if channels == 1 else None) or reason
        if reason is None and channels == 1:
            reason = "all of it hangs together as a single channel"
        made = made or _names([m for m in members if not self._constant(m)], "addend")
        if not made:
            return None
        return ChannelGroup(self._name(made), channels, tuple(members), reason)

    def _members(self, places: Mapping[Key, torch.Tensor]) -> list[Member]:
        parts: dict[tuple[str, str], list[tuple[Key, torch.Tensor]]] = defaultdict(list)
        # By place on the first axis, so that channel c is row c wherever that is possible.
        first = min(places, key=lambda key: (self._role(key) != "producer", self._order[_module(key)]))
        order = places[first][:, 0].argsort(stable=True)
        for key, index in places.items():
            parts[_module(key), SIDES.get(self._role(key), "made")].append((key, index[order]))
        members = []
        for (module, _), axes in parts.items():
            while axes:
                index = axes[0][1]
                keys = [key for key, other in axes if torch.equal(index, other)]
                axes = [(key, other) for key, other in axes if key not in keys]
                members.append(self._member(module, keys, index))
        return sorted(members, key=lambda member: (self._order[member.module], member.role == "consumer"))

    def _member(self, module: str, keys: Sequence[Key], index: torch.Tensor) -> Member:
        roles = {self._role(key) for key in keys}
        role = next(role for _, role in USES if role in roles) if "reader" not in roles else "reader"
        tensors = tuple((key[0].rpartition(".")[2], key[1]) for key in keys if role != "padding")
        if role == "producer" and not any(is_matrix(self._model.get_submodule(module), name) for name, _ in tensors):
            role = "addend"
        follows = self._trace.follows.get(module, []) if role in {"producer", "consumer"} else []
        return Member(module, role, index, tensors, follows[0] if len(follows) == 1 else None)

    def _constant(self, member: Member) -> bool:
        """Whether it is all buffers: tables and masks, which are no channels."""
        names = [f"{member.module}.{name}".lstrip(".") for name, _ in member.tensors]
        return not any(name in self._parameters for name in names)

    def _role(self, key: Key) -> Role:
        uses = self._trace.uses[key]
        role = next(role for use, role in USES if use in uses)
        layer = isinstance(self._model.get_submodule(_module(key)), MAKERS)
        if not layer and key[0] not in self._parameters and role in {"producer", "consumer"}:
            # A matrix that is no parameter, so nothing that could vanish.
            return "addend" if role == "producer" else "reader"
        return role

    def _name(self, made: Sequence[str]) -> str:
        free = [name for name in made if name not in self._taken]
        numbered = (f"{made[0]}#{number}" for number in range(2, len(self._taken) + 3))
        name = free[0] if free else next(name for name in numbered if name not in self._taken)
        self._taken.add(name)
        return name


def _names(members: Sequence[Member], role: Role) -> list[str]:
    """The modules that have that role; the network itself is called after its parameter."""
    return [member.module or member.tensors[0][0] for member in members if member.role == role]


def _module(key: Key) -> str:
    return key[0].rpartition(".")[0]
