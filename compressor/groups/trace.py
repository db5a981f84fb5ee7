"""One forward pass in which every tensor carries labels: which channel each of its entries belongs to."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from compressor.equivalence import Inputs, outputs
from compressor.errors import UsageError
from compressor.groups.labels import Labels, compact
from compressor.groups.roads import training_outputs

# Where a dimension of channels is cut into pieces: None, its channels stay independent; "inner", a channel
# is one place within every piece; "outer", a whole piece.
Cut = Literal["inner", "outer"]
OUTPUTS = "its channels are outputs of the network"
# Which code cuts: the class of the module, and how many cuts it has made before.
Kind = tuple[type[nn.Module], int]
# The trace looks at the clock at every operation, so that it needs neither signals nor threads to stop.
TRACE_SECONDS = 120.0


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


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the channels of ``model`` through one forward pass.

    ``entries`` holds for every (tensor name, axis) on which channels lie one label per place, and ``uses``
    what the network does with them there; ``products`` are labels of channels that are multiplied and summed.
    """

    def __init__(self, model: nn.Module, cuts: Mapping[int, Cut]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.labels = Labels()
        self.entries: dict[tuple[str, int], Tensor] = {}
        self.uses: dict[tuple[str, int], set[str]] = {}
        self.sites: dict[int, Tensor] = {}
        self.products: list[Tensor] = []
        self.kinds: dict[int, Kind] = {}
        self.cuts = cuts
        self.stack: list[tuple[str, nn.Module]] = []
        self.follows: dict[str, list[str | None]] = {}
        self._model = model
        # The number of the running operation names a place in the network, whatever is read into it.
        self._step = 0
        self._cuts_in: Counter[str] = Counter()
        self._deadline = math.inf
        self._spoiled: dict[str, str] = {}
        self._labels: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()
        self._views: MutableMapping[Tensor, View] = WeakTensorKeyDictionary()
        self._made: MutableMapping[Tensor, str] = WeakTensorKeyDictionary()
        self._sizes: dict[str, tuple[int, ...]] = {}
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            self._sizes[name] = tuple(tensor.shape)
            self._views[tensor] = View(name, tuple((dim, 0, size) for dim, size in enumerate(tensor.shape)))

    def run(self, inputs: Inputs, switches: Sequence[str] = ()) -> None:
        """Run the network, also as in training if there are switches, and block what must stay whatever else holds."""
        modules = dict(self._model.named_modules())
        hooks = [module.register_forward_pre_hook(self._entered(name)) for name, module in modules.items()]
        hooks += [module.register_forward_hook(self._left) for module in modules.values()]
        self._deadline = time.monotonic() + TRACE_SECONDS
        try:
            with self:
                found = outputs(self._model, inputs) + training_outputs(self._model, inputs, switches)
        finally:
            for hook in hooks:
                hook.remove()
        for tensor in found:
            self.block(tensor, OUTPUTS)
        for (name, _), labels in self.entries.items():
            if name in self._spoiled:
                self.labels.block(labels, self._spoiled[name])

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then its rule on the labels of its arguments."""
        from compressor.groups.rules import rule_for

        self._step += 1
        if time.monotonic() > self._deadline:
            raise UsageError(
                f"following the channels takes more than {TRACE_SECONDS:g} s (it has come to {self.place}, "
                f"operation {self._step}); a smaller example input may do"
            )
        out = function(*args, **(kwargs or {}))
        call = Call(function, function._schema.name.partition("::")[2].rstrip("_"), args, kwargs or {}, out)
        tensors = call.tensors()
        for tensor in tensors:
            if tensor in self._made:
                follower = self.where if call.name in {"native_batch_norm", "cudnn_batch_norm"} else None
                self.follows.setdefault(self._made[tensor], []).append(follower)
        if any(tensor in self._labels or tensor in self._views for tensor in tensors):
            rule_for(call)(self, call)
        elif call.name in {"zeros", "new_zeros"} and self.stack and isinstance(self.stack[-1][1], nn.RNNBase):
            # Its first state: unit j of every layer and direction is one channel, since they share one width.
            self.set(out, self.labels.fresh(out.shape[-1]))
        return out

    @property
    def where(self) -> str:
        """The module that is running."""
        return self.stack[-1][0] if self.stack else ""

    @property
    def place(self) -> str:
        """The module that is running, in words."""
        return self.where or "the network's own forward"

    def get(self, tensor: Any) -> Tensor | None:
        """The labels of a tensor of the forward pass, None when it has none."""
        return self._labels.get(tensor) if isinstance(tensor, Tensor) else None

    def set(self, tensor: Tensor, labels: Tensor | None) -> None:
        """Give ``tensor`` its labels, of the same shape or one that expands to it."""
        if labels is not None:
            self._labels[tensor] = compact(labels.expand(tensor.shape))
        else:
            self._labels.pop(tensor, None)

    def made(self, tensor: Tensor) -> None:
        """Note that ``tensor`` is what the running module makes of its weight."""
        self._made[tensor] = self.where

    def view(self, tensor: Any) -> View | None:
        """What ``tensor`` is of a parameter or buffer, None when it is something else."""
        return self._views.get(tensor) if isinstance(tensor, Tensor) else None

    def set_view(self, tensor: Tensor, view: View) -> None:
        """``tensor`` is that part of a parameter or buffer."""
        self._views[tensor] = view

    def axis(self, view: View, dim: int, use: str) -> Tensor | None:
        """The labels of a parameter along ``dim``, used that way; None along a dimension it does not have."""
        part = view.dims[dim]
        if part is None:
            return None
        axis, start, stop = part
        key = (view.name, axis)
        if key not in self.entries:
            self.entries[key] = self.labels.fresh(self._sizes[view.name][axis])
        self.uses.setdefault(key, set()).add(use)
        return self.entries[key][start:stop]

    def block(self, tensor: Any, reason: str) -> None:
        """No channel of ``tensor`` must be removed."""
        labels, view = self.get(tensor), self.view(tensor)
        if labels is not None and labels.numel():
            self.labels.block(labels, reason)
        if view is not None:
            self._spoiled.setdefault(view.name, reason)

    def cut(self, labels: Tensor) -> Cut | None:
        """How to read a place where a dimension of channels is cut into pieces."""
        self.sites[self._step] = labels
        self.kinds[self._step] = type(self._model.get_submodule(self.where)), self._cuts_in[self.where]
        self._cuts_in[self.where] += 1
        return self.cuts.get(self._step)

    def _entered(self, name: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, args: self.stack.append((name, module))

    def _left(self, module: nn.Module, args: Any, out: Any) -> None:
        self.stack.pop()


def fixed(trace: Trace) -> str:
    """Why channels that meet others of the code's own cannot go."""
    if trace.stack and isinstance(trace.stack[-1][1], nn.RNNBase):
        return f"{trace.place} starts from a state of fixed width"
    return f"it meets a tensor of fixed width in {trace.place}"


def narrowed(view: View, dim: int, start: int, stop: int) -> View:
    """The part of ``view`` from ``start`` to ``stop`` along ``dim``."""
    part = view.dims[dim]
    if part is None:
        return view
    dims = list(view.dims)
    dims[dim] = (part[0], part[1] + start, part[1] + stop)
    return replace(view, dims=tuple(dims))
