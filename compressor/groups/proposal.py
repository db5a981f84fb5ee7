"""Channel groups out of a trace: ids that are the same channel, channels that lie in the same modules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

import torch
from torch import nn

from compressor.channels import VANISHING, ChannelGroup, Member, Product, Role
from compressor.equivalence import Inputs
from compressor.groups.dispatch import traced
from compressor.groups.trace import OUTPUTS, Cut, Kind, Trace
from compressor.layer_kinds import MAKERS, matrices
from compressor.surgery.replacements import why_kept

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

Key = tuple[str, int]
# Tensors on the same side of a module are one member.
_SIDES: dict[Role, str] = {"consumer": "reads", "reader": "reads", "count": "counts"}


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
    model: nn.Module, inputs: Inputs, switches: Sequence[str] = (), cuts: Mapping[int, Cut] | None = None
) -> Proposal:
    """Every group of coupled channels in the order of the modules, not yet probed; ``model`` is left as it is.

    With ``switches`` the parts that only training runs are followed too.
    """
    trace = traced(model, inputs, switches, cuts or {})
    channel, reasons = trace.ids.resolve()
    places: dict[int, dict[Key, list[int]]] = defaultdict(lambda: defaultdict(list))
    for key, ids in trace.entries.items():
        for place, root in enumerate(channel[ids.numpy()].tolist()):
            places[root][key].append(place)
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for root, where in places.items():
        signature = tuple(sorted((key, len(at)) for key, at in where.items()))
        alike[signature, reasons.get(root)].append(root)
    passed = {site: set(channel[torch.unique(ids).numpy()].tolist()) for site, ids in trace.sites.items()}
    multiplied = {root for ids in trace.products for root in channel[ids.numpy()].tolist()}
    builder = _Builder(model, trace)
    groups, sites = [], {}
    owner: dict[int, ChannelGroup] = {}
    for (_, reason), roots in alike.items():
        channels = [places[root] for root in roots]
        group = builder.group(channels, reason, multiplied=multiplied.issuperset(roots))  # type: ignore[arg-type]
        if group is not None:
            groups.append(group)
            sites[group.name] = tuple(site for site, channels_there in passed.items() if channels_there & set(roots))
            owner |= dict.fromkeys(roots, group)
    groups.sort(key=builder.order)
    lines = [channel[pieces.numpy()].tolist() for site, pieces in trace.pieces.items() if site not in trace.cuts]
    tied = _tied(groups, [[{id(g): g for g in map(owner.get, piece) if g} for piece in line] for line in lines])
    products = _products(trace, [[owner.get(r) for r in channel[v.numpy()].tolist()] for v in trace.operands.values()])
    return Proposal(
        tuple(replace(g, tie=tied.get(g.name), products=tuple(products[g.name])) for g in groups),
        sites,
        trace.kinds,
        trace.splits,
    )


def _products(trace: Trace, owners: Sequence[Sequence[ChannelGroup | None]]) -> dict[str, list[Product]]:
    """By a group's name the products along which its channels lie; ``owners`` are the groups along each operand."""
    products: dict[str, list[Product]] = defaultdict(list)
    for (module, number, side), along in zip(trace.operands, owners, strict=True):
        for group, places in Counter(owner for owner in along if owner is not None).items():
            products[group.name].append(Product(module, number, side, places / group.channels, len(along)))
    return products


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
        return self._order[group.name.partition("#")[0]]

    def group(
        self, channels: Sequence[Mapping[Key, Sequence[int]]], reason: str | None, *, multiplied: bool
    ) -> ChannelGroup | None:
        """The group of these channels, which lie on the same axes; None when no layer makes them.

        Those that are ``multiplied`` with each other, as queries and keys are, need no other layer to read them.
        """
        members = self._members(channels)
        made = [member.module for member in members if member.role == "producer"]
        if reason != OUTPUTS:
            reason = self._opaque(members) or reason or self._problem(members, made, multiplied)
        if reason is None and len(channels) == 1:
            reason = "all of it hangs together as a single channel"
        made = made or [member.module for member in members if member.role == "addend"]
        if not made:
            return None
        return ChannelGroup(self._name(made), len(channels), tuple(members), reason)

    def _members(self, channels: Sequence[Mapping[Key, Sequence[int]]]) -> list[Member]:
        parts: dict[tuple[str, str], list[tuple[Key, torch.Tensor]]] = defaultdict(list)
        # By place on the first axis, so that channel c is row c wherever that is possible.
        first = min(channels[0], key=lambda key: (self._role(key) != "producer", self._order[_module(key)]))
        channels = sorted(channels, key=lambda where: where[first][0])
        for key in channels[0]:
            index = torch.tensor([where[key] for where in channels])
            parts[_module(key), _SIDES.get(self._role(key), "makes")].append((key, index))
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
        if role == "producer" and not dict(tensors).keys() & matrices(self._model.get_submodule(module)).keys():
            role = "addend"
        follows = self._trace.follows.get(module, []) if role in {"producer", "consumer"} else []
        return Member(module, role, index, tensors, follows[0] if len(follows) == 1 else None)

    def _role(self, key: Key) -> Role:
        uses = self._trace.uses[key]
        role = next(role for use, role in USES if use in uses)
        layer = isinstance(self._model.get_submodule(_module(key)), MAKERS)
        if not layer and role in {"producer", "consumer"}:
            return "addend" if role == "producer" else "reader"
        return role

    def _opaque(self, members: Sequence[Member]) -> str | None:
        """Layers of torch whose widths are bound to others."""
        for member in members:
            module = self._model.get_submodule(member.module)
            if isinstance(module, nn.MultiheadAttention):
                return f"{member.module} is an nn.MultiheadAttention {why_kept(module)}"
            if isinstance(module, nn.LSTM) and module.proj_size and member.role == "producer":
                return f"{member.module} is an nn.LSTM with projections, which torch tells from others by its widths"
        return None

    def _problem(self, members: Sequence[Member], made: Sequence[str], multiplied: bool) -> str | None:
        for member in members:
            frozen = [name for name, _ in member.tensors if f"{member.module}.{name}".lstrip(".") in self._frozen]
            if member.role in VANISHING and frozen:
                return f"{member.module} is frozen (requires_grad is off)"
        if not made:
            return "no convolution, linear or recurrent layer and no embedding makes it"
        if not multiplied and not any(member.role == "consumer" for member in members):
            readers = [member.module for member in members if member.role == "reader"]
            only = f", only {readers[0]}" if readers else ""
            return f"no convolution, linear or recurrent layer reads it{only}"
        return None

    def _name(self, made: Sequence[str]) -> str:
        free = [name for name in made if name not in self._taken]
        numbered = (f"{made[0]}#{number}" for number in range(2, len(self._taken) + 3))
        name = free[0] if free else next(name for name in numbered if name not in self._taken)
        self._taken.add(name)
        return name


def _module(key: Key) -> str:
    return key[0].rpartition(".")[0]
