"""What one forward pass tells about channels: every entry of every tensor has a channel id, which rules pass on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from compressor.groups.channel_ids import ChannelIds, compact, head, varying
from compressor.layer_kinds import NORMS
from compressor.products import products_of

# Where a dimension of channels is cut into pieces: None, its channels stay independent; "inner", a channel
# is one place within every piece; "outer", a whole piece.
Cut = Literal["inner", "outer"]
OUTPUTS = "its channels are outputs of the network"
# Which code cuts: the class of the module, and how many cuts it has made before.
Kind = tuple[type[nn.Module], int]


@dataclass(frozen=True)
class View:
    """A parameter or buffer with its dimensions moved: for each one (axis, start, stop), or None when it is new."""

    name: str
    dims: tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, eq=False)
class Call:
    """One aten operation that ran."""

    function: Any
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    out: Any

    def value(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or its name."""
        return self.args[place] if place < len(self.args) else self.kwargs.get(name, default)

    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return [leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]


Rule = Callable[["Trace", Call], None]


class Trace:
    """The channel ids of a network's tensors, and what the network does with them.

    ``entries`` holds for every (tensor name, axis) on which channels lie one id per place, and ``uses``
    what the network does with them there; ``products`` are ids of channels that are multiplied and summed, and
    ``operands``, by a product's module, its number there and a side, 0 or 1, ids along which it does more work.
    ``cuts`` says how places where channels are cut into pieces are read; ``sites`` are the ids that lie there,
    ``pieces`` (pieces, width) the same along the axis that is cut, ``kinds`` which code cuts, ``splits`` the places
    whose pieces are tensors of their own, and ``grouped`` the convolutions in groups. ``follows`` names for each layer
    the norms that read what it makes. ``undecided`` says why nothing may go that some modules see.
    """

    def __init__(self, model: nn.Module, cuts: Mapping[int, Cut], undecided: Mapping[str, str] | None = None) -> None:
        self.ids = ChannelIds()
        self.entries: dict[tuple[str, int], Tensor] = {}
        self.uses: dict[tuple[str, int], set[str]] = {}
        self.sites: dict[int, Tensor] = {}
        self.pieces: dict[int, Tensor] = {}
        self.splits: set[int] = set()
        self.grouped: set[int] = set()
        self.products: list[Tensor] = []
        self.operands: dict[tuple[str, int, int], Tensor] = {}
        self.kinds: dict[int, Kind] = {}
        self.cuts = cuts
        self.undecided: Mapping[str, str] = undecided or {}
        self.stack: list[tuple[str, nn.Module]] = []
        self.follows: dict[str, list[str | None]] = {}
        self._model = model
        # The number of the running operation names a place in the network, whatever is read into it.
        self.step = 0
        # How many modules are running that are not looked into.
        self.paused = 0
        self._cuts_in: Counter[str] = Counter()
        self._products_in: Counter[str] = Counter()
        self._product = 0
        self._random: set[str] = set()
        self._spoiled: dict[str, str] = {}
        self._seen: list[tuple[Tensor, str]] = []
        self._ids: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        self._views: MutableMapping[Tensor, View] = WeakTensorKeyDictionary()
        self._made: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self._sizes: dict[str, tuple[int, ...]] = {}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            self._sizes[name] = tuple(tensor.shape)
            self._views[tensor] = View(name, tuple((dim, 0, size) for dim, size in enumerate(tensor.shape)))

    @property
    def where(self) -> str:
        """The module that is running."""
        return self.stack[-1][0] if self.stack else ""

    @property
    def place(self) -> str:
        """The module that is running, in words."""
        return self.where or "the network's own forward"

    def runs(self, *kinds: type[nn.Module]) -> bool:
        """Whether a module of one of these kinds is running."""
        return bool(self.stack) and isinstance(self.stack[-1][1], kinds)

    def draws(self) -> None:
        """Note that the running module draws random numbers."""
        self._random.add(self.where)

    @property
    def fixed(self) -> str:
        """Why channels that meet a width written into the running module cannot go."""
        if self.where in self._random:
            return f"{self.place} draws random numbers, other ones for each channel"
        if self.stack and isinstance(self.stack[-1][1], nn.RNNBase):
            return f"{self.place} starts from a state of fixed width"
        return f"it meets a tensor of fixed width in {self.place}"

    def knows(self, tensor: Tensor) -> bool:
        """Whether it has channel ids, or is a parameter or buffer."""
        return tensor in self._ids or tensor in self._views

    def get(self, tensor: Any) -> Tensor | None:
        """The ids of a tensor of the forward pass, None when it has none."""
        return self._ids.get(tensor) if isinstance(tensor, Tensor) else None

    def set(self, tensor: Tensor, ids: Tensor | None) -> None:
        """Give ``tensor`` its ids, of the same shape or one that expands to it."""
        if ids is not None:
            self._ids[tensor] = compact(ids.expand(tensor.shape))
        else:
            self._ids.pop(tensor, None)

    def made(self, tensor: Tensor) -> None:
        """Note that ``tensor`` is what the running module makes of its weight."""
        self._made[tensor] = self.where

    def reads(self, tensor: Tensor, call: Call) -> None:
        """Note that ``call`` reads ``tensor``: whether a norm directly follows what a layer has made."""
        if tensor in self._made:
            norm = bool(self.stack) and isinstance(self.stack[-1][1], NORMS)
            follower = self.where if norm and call.name in {"native_batch_norm", "cudnn_batch_norm"} else None
            self.follows.setdefault(self._made[tensor], []).append(follower)

    def view(self, tensor: Any) -> View | None:
        """What ``tensor`` is of a parameter or buffer, None when it is something else."""
        return self._views.get(tensor) if isinstance(tensor, Tensor) else None

    def set_view(self, tensor: Tensor, view: View) -> None:
        """``tensor`` is that part of a parameter or buffer."""
        self._views[tensor] = view

    def axis(self, view: View, dim: int, use: str) -> Tensor | None:
        """The ids of a parameter along ``dim``, used that way; None along a dimension it does not have."""
        part = view.dims[dim]
        if part is None:
            return None
        axis, start, stop = part
        key = (view.name, axis)
        if key not in self.entries:
            self.entries[key] = self.ids.fresh(self._sizes[view.name][axis])
        self.uses.setdefault(key, set()).add(use)
        return self.entries[key][start:stop]

    def holder(self, view: View) -> tuple[str, nn.Module]:
        """The module whose parameter or buffer it is, with its name."""
        name = view.name.rpartition(".")[0]
        return name, self._model.get_submodule(name)

    def counted(self, name: str, attribute: str, ids: Tensor, place: int = 0) -> None:
        """Where an attribute of the module of that name says how many these ids are, it is told when some go.

        Of one that holds several numbers it is the one at ``place``.
        """
        module = self._model.get_submodule(name)
        said = getattr(module, attribute, None)
        count = said[place] if isinstance(said, list | tuple) and place < len(said) else said
        if count != len(ids) or isinstance(getattr(type(module), attribute, None), property):
            return
        key = (f"{name}.{attribute}".lstrip("."), place)
        self.uses.setdefault(key, set()).add("count")
        self.union(self.entries.setdefault(key, ids), ids, "")

    def vector(self, tensor: Any, use: str) -> Tensor | None:
        """The ids of a parameter along its first axis, used that way; None of something else."""
        view = self.view(tensor)
        return None if view is None else self.axis(view, 0, use)

    def union(self, one: Tensor, other: Tensor, reason: str | None = None) -> None:
        """Ids at the same place are one channel, which must stay where it meets entries of fixed width."""
        self.ids.union(one, other, self.fixed if reason is None else reason)

    def block(self, tensor: Any, reason: str) -> None:
        """No channel of ``tensor`` must be removed."""
        ids, view = self.get(tensor), self.view(tensor)
        if ids is not None and ids.numel():
            self.ids.block(ids, reason)
        if view is not None:
            self._spoiled.setdefault(view.name, reason)

    def see(self, tensor: Tensor, name: str) -> None:
        """Note that a module of ``undecided`` sees ``tensor``, which must stay if nothing else says why."""
        ids, view = self.get(tensor), self.view(tensor)
        if ids is not None and ids.numel():
            self._seen.append((ids, self.undecided[name]))
        if view is not None:
            self._spoiled.setdefault(view.name, self.undecided[name])

    def end(self, results: Iterable[Tensor]) -> None:
        """Block what must stay whatever else holds: the network's outputs, and what follows no rule."""
        for tensor in results:
            self.block(tensor, OUTPUTS)
        for ids, reason in self._seen:
            self.ids.block(ids, reason)
        for (name, _), ids in self.entries.items():
            if name in self._spoiled:
                self.ids.block(ids, self._spoiled[name])

    def number(self, call: Call) -> None:
        """Count the products of two tensors that ``call`` computes in the running module."""
        self._product = self._products_in[self.where]
        self._products_in[self.where] += len(products_of(call.name, call.args, lambda tensor: tensor in self._views))

    def multiplies(self, *sides: Tensor, second: bool = False) -> None:
        """Note the ids along which the product that is running, or the second of two, does more work."""
        for side, ids in enumerate(sides):
            self.operands[self.where, self._product + second, side] = ids

    def cut(self, ids: Tensor, dim: int, pieces: int) -> Cut | None:
        """How to read a place where the dimension ``dim`` of channels is cut into so many equal pieces."""
        if varying(ids) == [dim]:
            self.pieces[self.step] = head(ids, *(d for d in range(ids.ndim) if d != dim)).reshape(pieces, -1)
        return self.reading(ids)

    def reading(self, ids: Tensor) -> Cut | None:
        """How to read the running operation, which ``ids`` pass."""
        self.sites[self.step] = ids
        self.kinds[self.step] = type(self._model.get_submodule(self.where)), self._cuts_in[self.where]
        self._cuts_in[self.where] += 1
        return self.cuts.get(self.step)


def narrowed(view: View, dim: int, start: int, stop: int) -> View:
    """The part of ``view`` from ``start`` to ``stop`` along ``dim``."""
    part = view.dims[dim]
    if part is None:
        return view
    dims = list(view.dims)
    dims[dim] = (part[0], part[1] + start, part[1] + stop)
    return replace(view, dims=tuple(dims))
