"""Operations that only move entries: the same operation moves their ids."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.architectures.window_attention import SlimWindowAttention
from compressor.groups.channel_ids import FIXED, along, compact, head, line, varying
from compressor.groups.trace import Call, Cut, Rule, Trace, View, narrowed

# What attention modules call the number of their heads and the width of each.
COUNTS: Mapping[Cut, tuple[str, ...]] = {
    "outer": ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads"),
    "inner": ("head_dim", "dim_head", "attention_head_size", "key_value_proj_dim"),
}
# What modules call the number of all channels that they reshape to.
WIDTHS = ("attn_dim", "all_head_size", "inner_dim", "hidden_dim", "hidden_size", "embed_dim", "d_model")


def moved(trace: Trace, call: Call) -> None:
    """Run the operation on the ids; of a parameter, follow its dimensions."""
    view = trace.view(call.args[0])
    if view is not None:
        _moved_view(trace, call, view)
        return
    ids = trace.get(call.args[0])
    if ids is None:
        return
    try:
        moved_ids = call.function(ids, *call.args[1:], **call.kwargs)
    except RuntimeError:
        # Not every operation knows integers; ids stay far below 2^53.
        moved_ids = call.function(ids.double(), *call.args[1:], **call.kwargs)
    for out, new in zip(tree_leaves(call.out), tree_leaves(moved_ids), strict=True):
        trace.set(out, new.long())


def same(trace: Trace, call: Call) -> None:
    """A copy."""
    view = trace.view(call.args[0])
    if view is not None:
        trace.set_view(call.out, view)
    else:
        trace.set(call.out, trace.get(call.args[0]))


def _moved_view(trace: Trace, call: Call, view: View) -> None:
    """Dimensions of a parameter in another order, cut, or beside new ones; otherwise a guess, which is probed."""
    outs = [leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor)]
    # The same operation on a tensor that holds, along each axis in turn, its place there.
    shape = call.args[0].shape
    axes = [dim for dim, part in enumerate(view.dims) if part is not None and shape[dim] > 1]
    places = {dim: along(torch.arange(shape[dim]).double(), dim, len(shape)).expand(shape) for dim in axes}
    try:
        moved_places = {dim: tree_leaves(call.function(p, *call.args[1:], **call.kwargs)) for dim, p in places.items()}
    except RuntimeError:
        moved_places = {}
    for number, out in enumerate(outs):
        parts: list[tuple[int, int, int] | None] = [None] * out.ndim
        new, clear = view, bool(moved_places)
        for dim in axes if moved_places else ():
            new_places = compact(moved_places[dim][number])
            where = varying(new_places)
            run = head(new_places, *(d for d in range(out.ndim) if d not in where)).flatten().long()
            if len(where) > 1 or not torch.equal(run, torch.arange(int(run[0]), int(run[0]) + len(run))):
                clear = False
                break
            if where:
                new = narrowed(view, dim, int(run[0]), int(run[0]) + len(run))
                parts[where[0]] = new.dims[dim]
        if clear:
            trace.set_view(out, View(view.name, tuple(parts)))
        else:
            _guessed(trace, call, view, out, number)


def _guessed(trace: Trace, call: Call, view: View, out: Tensor, number: int) -> None:
    """Channels of a parameter lie on its only long axis, of images on the second, else on the last."""
    name = view.name.rpartition(".")[2]
    if trace.runs(SlimWindowAttention) and name in trace.holder(view)[1]._buffers:
        # Where tokens lie is no channel.
        return
    ids = parameter_ids(trace, call.args[0], view)
    if ids is None:
        return
    new = tree_leaves(call.function(ids.double(), *call.args[1:], **call.kwargs))[number]
    trace.set(out, new.long())


def parameter_ids(trace: Trace, tensor: Tensor, view: View) -> Tensor | None:
    """The ids of a bare parameter as if it were a tensor of the forward pass."""
    long = [dim for dim, part in enumerate(view.dims) if part is not None and tensor.shape[dim] > 1]
    if not long:
        return None
    dim = 1 if tensor.ndim == 4 and 1 in long else long[-1]
    ids = trace.axis(view, dim, "addend")
    return None if ids is None else along(ids, dim, tensor.ndim).expand(tensor.shape)


def reshaped(trace: Trace, call: Call) -> None:
    """A view: channels may be cut into pieces, and what the pieces mean is tried out."""
    ids = trace.get(call.args[0])
    if ids is None:
        moved(trace, call)
        return
    new = compact(ids.reshape(call.out.shape))
    for dim, pieces in _cuts(ids, call.out.shape):
        # Of a batch and its heads that were taken together only the heads are channels.
        pieces = [place for place in pieces if place or place in varying(new)]
        if len(pieces) < 2:
            continue
        cut = trace.cut(ids, dim, math.prod(call.out.shape[place] for place in pieces[:-1]))
        if cut is None:
            continue
        kept = pieces[-1] if cut == "inner" else pieces[-2]
        first = head(new, *(dim for dim in pieces if dim != kept))
        trace.union(new, first, "")
        new = first.expand(new.shape)
        pieces_ids = line(first, kept)
        if len(torch.unique(pieces_ids)) == len(pieces_ids):
            _count(trace, COUNTS[cut], pieces_ids)
    for dim in varying(new):
        # The first are samples, taken together with heads perhaps.
        if dim and _stated(trace, WIDTHS, new.shape[dim]) and trace.reading(ids) is not None:
            _count(trace, WIDTHS, line(new, dim))
    trace.set(call.out, new)


def _stated(trace: Trace, attributes: Sequence[str], count: int) -> list[str]:
    """Which attributes of the running module hold that number."""
    module = trace.stack[-1][1] if trace.stack else None
    return [attribute for attribute in attributes if getattr(module, attribute, None) == count]


def _count(trace: Trace, attributes: Sequence[str], ids: Tensor) -> None:
    """A module that holds the number of pieces, say of heads, as an attribute is told when there are fewer."""
    for attribute in attributes:
        if trace.stack:
            trace.counted(trace.where, attribute, ids)


def _cuts(ids: Tensor, shape: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Each dimension with channels that is cut into pieces, and the dimensions of ``shape`` that it becomes."""
    cuts, start = [], 0
    for dim in range(ids.ndim):
        size, before = ids.shape[dim], math.prod(ids.shape[:dim])
        while start < len(shape) and math.prod(shape[:start]) < before:
            start += 1
        if math.prod(shape[:start]) != before or dim not in varying(ids):
            continue
        end = start
        while end < len(shape) and math.prod(shape[start:end]) < size:
            end += 1
        pieces = [place for place in range(start, end) if shape[place] > 1]
        if math.prod(shape[start:end]) == size and len(pieces) > 1:
            cuts.append((dim, pieces))
    return cuts


def concatenated(trace: Trace, call: Call) -> None:
    """Concatenation and stacking: along the channels they stand side by side, else they must be the same."""
    # Torch lets an empty vector stand beside anything, as the first state of a cache does.
    tensors = [tensor for tensor in call.args[0] if tensor.shape != (0,)]
    dim = call.value(1, "dim", 0) % call.out.ndim
    parts = [_part(trace, tensor) for tensor in tensors]
    if all(part is None for part in parts):
        return
    full = [torch.full((), FIXED).expand(t.shape) if p is None else p for t, p in zip(tensors, parts, strict=True)]
    if call.name == "stack":
        full = [part.unsqueeze(dim) for part in full]
    full = [part for part in full if part.shape[dim]]
    if any(dim in varying(part) for part in full):
        trace.set(call.out, torch.cat(full, dim))
        return
    first = full[0].narrow(dim, 0, 1)
    for part in full[1:]:
        trace.union(first, part.narrow(dim, 0, 1), f"it stands beside a tensor of fixed width in {trace.place}")
    best = max((compact(part.narrow(dim, 0, 1)) for part in full), key=lambda part: int((part > 0).any()))
    trace.set(call.out, best)


def _part(trace: Trace, tensor: Tensor) -> Tensor | None:
    view = trace.view(tensor)
    ids = trace.get(tensor) if view is None else parameter_ids(trace, tensor, view)
    return None if ids is None else compact(ids)


def padded(trace: Trace, call: Call) -> None:
    """Zero channels at the sides: they follow the width when the module says how many they are."""
    ids, pads = trace.get(call.args[0]), call.args[1]
    if ids is None:
        return
    value = call.value(2, "value", 0)
    for number, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True)):
        dim = ids.ndim - 1 - number
        if dim not in varying(ids):
            size = ids.shape[dim] + before + after
            ids = head(ids, dim).expand([size if d == dim else n for d, n in enumerate(ids.shape)])
        elif before < 0 or after < 0:
            ids = ids.narrow(dim, max(0, -before), ids.shape[dim] + min(0, before) + min(0, after))
        elif before or after:
            zeros = _zeros(trace, before + after, value)
            sides = [along(side, dim, ids.ndim) for side in torch.split(zeros, [before, after])]
            sides = [
                side.expand([side.shape[dim] if d == dim else n for d, n in enumerate(ids.shape)]) for side in sides
            ]
            ids = torch.cat([sides[0], ids, sides[1]], dim)
    trace.set(call.out, ids)


def _zeros(trace: Trace, count: int, value: float) -> Tensor:
    """ChannelIds of padded channels."""
    name, module = trace.stack[-1] if trace.stack else ("", None)
    if isinstance(module, PaddedShortcut) and count == module.before + module.after:
        key = (f"{name}.padding", 0)
        fresh = trace.entries.setdefault(key, trace.ids.fresh(count))
        trace.uses.setdefault(key, set()).add("padding")
        return fresh
    ids = trace.ids.fresh(count)
    what = "zero channels" if value == 0 else f"channels of {value:g}"
    trace.ids.block(ids, f"the number of {what} that it pads is written into {trace.place}")
    return ids


VIEWS: dict[str, Rule] = {
    **dict.fromkeys(("clone", "_to_copy", "detach", "alias", "lift_fresh", "contiguous", "_conj", "positive"), same),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "_reshape_alias"), reshaped),
    **dict.fromkeys(("cat", "stack"), concatenated),
    **dict.fromkeys(
        (
            "t", "transpose", "permute", "unsqueeze", "squeeze", "expand", "select", "unbind", "index_select",
            "index", "gather", "repeat", "repeat_interleave", "flip", "roll", "unfold", "im2col", "pixel_shuffle",
            "pixel_unshuffle", "channel_shuffle", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
            "_upsample_nearest_exact2d", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d",
            "replication_pad1d", "replication_pad2d", "replication_pad3d", "swapaxes", "movedim", "diagonal", "tril",
            "triu", "narrow", "view_as",
        ),
        moved,
    ),
    "constant_pad_nd": padded,
}  # fmt: skip
