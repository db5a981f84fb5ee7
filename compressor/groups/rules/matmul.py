"""Operations that sum over channels and make new ones: convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from compressor.groups.channel_ids import along, head, varying
from compressor.groups.trace import Call, Rule, Trace, View
from compressor.layer_kinds import MAKERS, STATED_INPUTS, STATED_OUTPUTS

# Of as few groups no whole one can be spared.
FEW_GROUPS = 8


def convolution(trace: Trace, call: Call) -> None:
    """Reads channels on one axis of its weight and makes those of the other; in groups, whole groups go together."""
    tensor, weight, bias = call.args[:3]
    transposed, groups = call.args[6], call.args[8]
    ids, view = trace.get(tensor), trace.view(weight)
    if view is None:
        _computed(trace, tensor, weight)
        return
    axis = 1 if transposed and groups == 1 else 0
    if groups > 1:
        made = _grouped(trace, call, view, ids, groups)
    else:
        read = _read(trace, view, 1 - axis) if ids is not None else None
        if ids is not None and read is not None:
            trace.union(ids, along(read, 1, ids.ndim))
        made = _made(trace, view, axis)
    if made is None:
        return
    _bias(trace, bias, made)
    trace.set(call.out, along(made, 1, call.out.ndim))
    trace.made(call.out)


def _made(trace: Trace, view: View, dim: int) -> Tensor | None:
    """The ids of the channels that a weight makes."""
    ids = trace.axis(view, dim, "producer")
    return _stated(trace, view, ids, STATED_OUTPUTS)


def _read(trace: Trace, view: View, dim: int) -> Tensor | None:
    """The ids of the channels that a weight reads."""
    return _stated(trace, view, trace.axis(view, dim, "consumer"), STATED_INPUTS)


def _stated(trace: Trace, view: View, ids: Tensor | None, attributes: Sequence[str]) -> Tensor | None:
    """The same ids; a module of other people's whose attributes say how many they are is told when there are fewer."""
    name, module = trace.holder(view)
    if ids is not None and not isinstance(module, MAKERS):
        for attribute in attributes:
            trace.counted(name, attribute, ids)
    return ids


def _grouped(trace: Trace, call: Call, view: View, ids: Tensor | None, groups: int) -> Tensor | None:
    """Whole groups go together; read *inner*, where there are few groups, the same places in each of them."""
    rows = trace.axis(view, 0, "producer")
    if rows is None:
        return None
    split = rows.reshape(groups, -1)
    if ids is not None and _inner(trace, call, ids, groups):
        trace.union(split, split[:1], "")
        read = trace.axis(view, 1, "consumer")
        if read is not None:
            trace.union(ids, along(read.repeat(groups), 1, ids.ndim))
        return split[:1].expand(split.shape).flatten()
    trace.union(split, split[:, :1], "")
    width = call.args[0].shape[1] // groups
    whole = split[:, 0]
    if ids is not None:
        trace.union(ids, along(whole.repeat_interleave(width), 1, ids.ndim))
    else:
        trace.ids.block(rows, f"{trace.place} reads channels of fixed width in {groups} groups")
    return whole.repeat_interleave(call.out.shape[1] // groups)


def _inner(trace: Trace, call: Call, ids: Tensor, groups: int) -> bool:
    """Whether a convolution in groups is read as one that keeps all of them, each with fewer channels."""
    per_group = min(call.args[0].shape[1], call.out.shape[1]) // groups
    if call.args[6] or groups >= FEW_GROUPS or per_group == 1:
        return False
    trace.grouped.add(trace.step)
    return trace.reading(ids) == "inner"


def _computed(trace: Trace, tensor: Tensor, weight: Tensor) -> None:
    """A weight that the forward pass computes."""
    reason = f"{trace.place} computes its weight anew in every forward pass"
    trace.block(tensor, reason)
    trace.block(weight, reason)


def _bias(trace: Trace, bias: Tensor | None, made: Tensor) -> None:
    own = trace.vector(bias, "producer")
    if own is None:
        # One that is put together of parameters.
        own = trace.get(bias)
    if own is not None:
        trace.union(own, made)


def addmm(trace: Trace, call: Call) -> None:
    """A linear layer with bias, or a product to which a tensor of the forward pass is added."""
    made = product(trace, call.args[1], call.args[2], call.out)
    added = trace.get(call.args[0])
    if made is not None and (added is None or added.ndim == 1):
        _bias(trace, call.args[0], made)
    elif made is not None and added is not None:
        trace.union(added, along(made, 1, 2))
    elif call.args[0].numel() > 1:
        trace.block(call.args[0], f"{trace.place} adds it to a product of two tensors")


def mm(trace: Trace, call: Call) -> None:
    """A linear layer without bias, or a product of two tensors of the forward pass."""
    product(trace, call.args[0], call.args[1], call.out)


def baddbmm(trace: Trace, call: Call) -> None:
    """Products with something added, for example a mask."""
    trace.block(call.args[0], trace.fixed)
    product(trace, call.args[1], call.args[2], call.out)


def product(trace: Trace, one: Tensor, other: Tensor, out: Tensor) -> Tensor | None:
    """A matrix product; returns the ids that a weight made, one per column."""
    for flipped, tensor, weight in ((False, one, other), (True, other, one)):
        view = trace.view(weight)
        if view is not None and (weight.ndim == 2 or weight.shape[0] == 1):
            # A batch of a single matrix, as einsum makes it, is that matrix.
            return _linear(trace, tensor, replace(view, dims=view.dims[-2:]), out, flipped)
    for tensor in (one, other):
        if trace.view(tensor) is not None:
            trace.block(tensor, f"{trace.place} multiplies with it as a whole")
    ids = trace.get(one), trace.get(other)
    if trace.view(one) is None and trace.view(other) is None:
        trace.multiplies(*sides(*ids))
    trace.set(out, between(trace, *ids, one, other))
    return None


def _linear(trace: Trace, tensor: Tensor, view: View, out: Tensor, flipped: bool) -> Tensor | None:
    """``tensor @ weight``, or ``weight @ tensor`` when flipped; channels of the tensor lie along the summed axis."""
    ids = trace.get(tensor)
    batched = tensor.ndim - 2
    summed = batched + int(not flipped)
    if ids is not None and varying(ids) == [2 * batched + 1 - summed]:
        # It mixes another axis than the channels', for example the tokens.
        reason = f"{trace.place} mixes along another axis than the channels"
        trace.ids.block(ids, reason)
        for dim in (0, 1):
            own = trace.axis(view, dim, "consumer")
            if own is not None:
                trace.ids.block(own, reason)
        trace.set(out, ids.narrow(summed, 0, 1))
        return None
    read = _read(trace, view, int(flipped)) if ids is not None else None
    if ids is not None and read is not None:
        trace.union(ids, along(read, summed, tensor.ndim))
    made = _made(trace, view, int(not flipped))
    if made is not None:
        trace.set(out, along(made, summed, tensor.ndim))
        trace.made(out)
    return made


def between(trace: Trace, one: Tensor | None, other: Tensor | None, left: Tensor, right: Tensor) -> Tensor | None:
    """ChannelIds of ``left @ right``: (..., n, k) times (..., k, m)."""
    rows, k = left.ndim - 2, left.ndim - 1
    summed_one = one is not None and k in varying(one)
    summed_other = other is not None and rows in varying(other)
    if summed_one or summed_other:
        _unite_summed(trace, one, other)
    kept_one = None if one is None or summed_one else head(one, k).expand(*left.shape[:-1], right.shape[-1])
    kept_other = None if other is None or summed_other else head(other, rows).expand(*left.shape[:-1], right.shape[-1])
    for kept, partner in ((kept_one, kept_other), (kept_other, kept_one)):
        # Matrices of the batch that belong to channels, beside matrices that do not.
        if kept is not None and partner is None and any(dim < rows for dim in varying(kept)):
            trace.ids.block(kept, f"{trace.place} multiplies it, matrix by matrix, with a fixed number of others")
    if kept_one is None or kept_other is None:
        return kept_one if kept_other is None else kept_other
    if varying(kept_one) == varying(kept_other):
        trace.union(kept_one, kept_other)
    elif varying(kept_one):
        trace.ids.block(kept_one, f"{trace.place} keeps it beside the channels of another tensor")
    return kept_other if varying(kept_other) else kept_one


def sides(one: Tensor | None, other: Tensor | None) -> list[Tensor]:
    """The ids, one or two vectors, along which (..., n, k) times (..., k, m) is more work: it grows with each."""
    made = [_line(ids, -2 if flipped else -1) for flipped, ids in enumerate((one, other)) if _spreads(ids, flipped)]
    if len(made) == 2:
        return made
    # What is summed over, and matrices of the batch.
    summed = [
        _line(ids, -1 if flipped else -2) for flipped, ids in enumerate((one, other)) if not _spreads(ids, flipped)
    ]
    lines = [line for line in summed if len(line)][:1]
    known = set(made[0].tolist()) if made else set()
    return [*made, *(line for line in lines if known.isdisjoint(line.tolist()))]


def _spreads(ids: Tensor | None, flipped: int) -> bool:
    """Whether channels lie on the axis of an operand that is not summed over."""
    return ids is not None and ids.ndim - (1 if flipped else 2) in varying(ids)


def _line(ids: Tensor | None, left_out: int) -> Tensor:
    """The ids along all dimensions in which they vary but one, as a vector; empty where there is none."""
    if ids is None:
        return torch.zeros(0, dtype=torch.long)
    first = head(ids, ids.ndim + left_out)
    dims = varying(first)
    return head(first, *(dim for dim in range(ids.ndim) if dim not in dims)).flatten() if dims else first.flatten()[:0]


def _unite_summed(trace: Trace, one: Tensor | None, other: Tensor | None) -> None:
    if one is None or other is None:
        known = one if one is not None else other
        assert known is not None
        trace.ids.block(known, f"{trace.place} multiplies it with a tensor of fixed width")
        return
    first = head(one, one.ndim - 2)
    trace.products.append(torch.unique(first))
    trace.union(one, first, "")
    trace.union(first.transpose(-1, -2), other)


def embedding(trace: Trace, call: Call) -> None:
    """Every row has all channels."""
    view = trace.view(call.args[0])
    ids = _made(trace, view, 1) if view is not None else None
    trace.set(call.out, ids)


MATMUL: dict[str, Rule] = {
    "convolution": convolution,
    "addmm": addmm,
    "mm": mm,
    "bmm": mm,
    "baddbmm": baddbmm,
    "embedding": embedding,
}
