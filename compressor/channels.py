"""A channel group as data: which places on which axes of which tensors belong to each channel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from compressor.errors import UsageError
from compressor.shards import local, places_here, whole


def within(module: str, above: str) -> bool:
    """Whether that module is the one ``above``, or in it."""
    return module == above or module.startswith(f"{above}.")


# A producer is a convolution, linear or recurrent layer or an embedding that makes the channels, a consumer a layer
# that reads them, as a recurrent one does its own. What is added to them (norm, addend) must vanish with them; what
# scales them (follower) or merely reads them need not. Padding is the zero channels at the sides of a
# `PaddedShortcut`, a count an attribute that says how many channels there are.
Role = Literal["producer", "norm", "addend", "follower", "reader", "consumer", "padding", "count"]
VANISHING = ("producer", "norm", "addend")


@dataclass(frozen=True, eq=False)
class Member:
    """One module's part in a group.

    ``tensors`` names tensors of the module, each with the axis on which its channels lie; ``index``
    (channels, k) holds, for every channel, its k places there. ``feeds`` is the norm that directly
    follows a producer or consumer, if any.
    """

    module: str
    role: Role
    index: Tensor
    tensors: tuple[tuple[str, int], ...]
    feeds: str | None = None


@dataclass(frozen=True)
class Product:
    """The product of that number in a module, whose work grows with the channels of a group.

    Each channel has ``places`` of the ``width`` places along which side 0 or 1 of the product runs.
    """

    module: str
    number: int
    side: int
    places: float
    width: int


@dataclass(frozen=True)
class Ending:
    """Where a branch ends: ``module`` becomes a constant with one number for each channel that ``reader`` makes.

    ``reader`` is the module itself or a layer in it. The channels lie on ``axis`` of what the module gives, 1 or -1.
    ``norm`` directly follows the module and goes with it: the constant is what that gives.
    """

    module: str
    reader: str
    axis: int
    norm: str | None = None


@dataclass(frozen=True)
class Branch:
    """Groups that can lose all their channels, together: what they made is then a constant beside something else.

    The modules ``gone`` served nothing but the branch; they pass on what they are given.
    """

    name: str
    groups: tuple[str, ...]
    endings: tuple[Ending, ...]
    gone: tuple[str, ...]

    @property
    def modules(self) -> tuple[str, ...]:
        """All that it takes away, with what is in them."""
        norms = tuple(ending.norm for ending in self.endings if ending.norm is not None)
        return (*(ending.module for ending in self.endings), *norms, *self.gone)

    def holds(self, module: str) -> bool:
        """Whether it takes that module away."""
        return any(within(module, name) for name in self.modules)


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that can only be removed together with all their members; named after one of its producers.

    Groups with the same ``tie``, the name of one of them, always lose equally many channels, though not at the same
    places: code cuts the axis on which they lie side by side into equal pieces. ``products`` of theirs cost less with
    each channel that goes. With a ``branch`` all of its channels can go, when those of the branch's other groups do.
    """

    name: str
    channels: int
    members: tuple[Member, ...]
    excluded: str | None = None
    tie: str | None = None
    products: tuple[Product, ...] = ()
    branch: Branch | None = None

    @property
    def prunable(self) -> bool:
        """Whether its channels can be removed; ``excluded`` says why not."""
        return self.excluded is None

    @property
    def places(self) -> int:
        """How many places a channel has in the layers that make or read it: 1, or as many as a head is wide."""
        made, read = (
            [member.index.shape[1] for member in self.members if member.role == role]
            for role in ("producer", "consumer")
        )
        if not read:
            # Queries and keys, which read each other, may be made by one layer; outputs have no reader.
            return max(sum(made) // 2, 1)
        # A table with one column for each head is made beside the layer that makes the heads.
        return min(max(made, default=1), max(read))

    @property
    def vanishing(self) -> tuple[Member, ...]:
        """The members whose entries must be zero for a channel to be removed."""
        return tuple(member for member in self.members if member.role in VANISHING)


def ties(groups: Sequence[ChannelGroup]) -> list[list[int]]:
    """The places of the groups that lose equally many channels, together; most groups are alone."""
    together: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        together.setdefault(group.tie or group.name, []).append(place)
    return list(together.values())


def shared_places(groups: Sequence[ChannelGroup]) -> int:
    """The places of a channel of tied groups: what fills whole steps of that fills those of each."""
    return math.gcd(*(group.places for group in groups))


def branches(groups: Sequence[ChannelGroup]) -> dict[Branch, list[int]]:
    """The branches of which all groups are there, each with their places."""
    together: dict[Branch, list[int]] = {}
    for place, group in enumerate(groups):
        if group.branch is not None:
            together.setdefault(group.branch, []).append(place)
    return {branch: places for branch, places in together.items() if len(places) == len(branch.groups)}


def vanishing_tensors(model: nn.Module, group: ChannelGroup) -> Iterator[tuple[nn.Parameter, Member, int]]:
    """Every parameter that must vanish with the group's channels, its member and its channel axis."""
    for member in group.vanishing:
        module = model.get_submodule(member.module)
        for name, axis in member.tensors:
            parameter = getattr(module, name)
            if isinstance(parameter, nn.Parameter):
                yield parameter, member, axis
            elif name not in module._buffers:
                raise UsageError(
                    f"{member.module} computes its {name} from other parameters, so no channel of it can be zeroed; "
                    "call fold_weights(model) before the groups are found"
                )


@torch.no_grad()
def zero(model: nn.Module, group: ChannelGroup, channels: Tensor) -> None:
    """Set everything that must vanish with ``channels`` (bool mask or indices) to exactly zero."""
    for parameter, member, axis in vanishing_tensors(model, group):
        places = places_here(member.index[channels].flatten(), parameter, axis)
        local(parameter).index_fill_(axis, places, 0.0)


@torch.no_grad()
def is_zero(model: nn.Module, group: ChannelGroup) -> Tensor:
    """Which channels are exactly zero in every vanishing member: bool (channels,)."""
    total = torch.zeros(group.channels, dtype=torch.bool)
    for parameter, member, axis in vanishing_tensors(model, group):
        rest = [dim for dim in range(parameter.ndim) if dim != axis]
        sizes = whole(parameter.detach()).abs()
        # Not a sum of squares: squares of tiny weights underflow to zero.
        largest = sizes.amax(rest) if rest else sizes
        total |= (largest.cpu()[member.index] != 0).any(1)
    return ~total
