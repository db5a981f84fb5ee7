"""Elementwise operations: entries that meet at one place belong to the same channel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressor.architectures.norms import SlimLayerNorm
from compressor.groups.channel_ids import along, compact, head, varying
from compressor.groups.trace import Call, Rule, Trace, View

# Elementwise operations that lack torch's own tag.
ELEMENTWISE = frozenset({
    "_prelu_kernel", "hardswish", "hardtanh", "hardsigmoid", "leaky_relu", "elu", "celu", "log_sigmoid_forward",
    "softplus", "where", "clamp", "fill", "masked_fill", "rrelu_with_noise", "dropout", "native_dropout", "bernoulli",
})  # fmt: skip
# Where one operand is zero so is the result, whatever the other is.
PRODUCTS = frozenset({"mul", "div", "_prelu_kernel"})


def is_pointwise(call: Call) -> bool:
    """Whether torch says so, or we do."""
    return torch.Tag.pointwise in call.function.tags or call.name in ELEMENTWISE


def pointwise(trace: Trace, call: Call) -> None:
    """Entries that meet at one place belong to the same channel."""
    out = next(leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor))
    operands = call.tensors()
    tracked = [(t, trace.get(t)) for t in operands]
    known = [ids.expand(out.shape) for t, ids in tracked if ids is not None and _fits(t, out)]
    if not known:
        _between_parameters(trace, call, out, operands)
        return
    main = max((compact(ids) for ids in known), key=lambda ids: len(varying(ids)))
    dims = varying(main)
    for tensor, ids in tracked:
        if not _fits(tensor, out):
            continue
        aligned = (1,) * (out.ndim - tensor.ndim) + tuple(tensor.shape)
        narrow = any(aligned[dim] == 1 for dim in dims)
        if ids is not None and narrow:
            trace.ids.block(ids, f"it is broadcast over other channels in {trace.place}")
        elif ids is not None:
            trace.union(main, ids.expand(out.shape))
        elif trace.view(tensor) is not None:
            _unite_parameter(trace, call, tensor, main)
        elif not narrow and dims and not _repeats(tensor, out.ndim, dims):
            trace.ids.block(main, trace.fixed)
    for leaf in tree_leaves(call.out):
        if isinstance(leaf, Tensor) and leaf.shape == out.shape:
            trace.set(leaf, main)


def _fits(tensor: Tensor, out: Tensor) -> bool:
    return tensor.ndim <= out.ndim


def _repeats(tensor: Tensor, ndim: int, dims: Sequence[int]) -> bool:
    """Whether it has been expanded along one of the dimensions, as a norm of other channels is to divide them."""
    return any(tensor.stride(dim - ndim) == 0 for dim in dims if dim >= ndim - tensor.ndim)


def _unite_parameter(trace: Trace, call: Call, tensor: Tensor, main: Tensor) -> None:
    """A bare parameter or buffer beside tracked entries: its own axis is united with the channels'."""
    view = trace.view(tensor)
    assert view is not None
    # Where a mean has been taken off, a channel of zeros stays one only if its weight is zero.
    use = "norm" if trace.runs(SlimLayerNorm) else "follower" if call.name in PRODUCTS else "addend"
    for dim in varying(main):
        own = dim - (main.ndim - tensor.ndim)
        if own >= 0 and tensor.shape[own] > 1:
            ids = trace.axis(view, own, use)
            if ids is None:
                trace.ids.block(main, trace.fixed)
            else:
                trace.union(head_over(main, dim), along(ids, dim, main.ndim))


def head_over(ids: Tensor, dim: int) -> Tensor:
    """Ids as they are along ``dim``, and along every other dimension in which they vary."""
    return ids if varying(ids) != [dim] else head(ids, *(d for d in range(ids.ndim) if d != dim))


def _between_parameters(trace: Trace, call: Call, out: Tensor, operands: Sequence[Tensor]) -> None:
    """Parameters among themselves: a vector stays one; of a larger one nothing is known."""
    views = [(t, view) for t in operands if (view := trace.view(t)) is not None]
    if not views:
        return
    main, view = max(views, key=lambda pair: pair[0].numel())
    wide = [dim for dim, size in enumerate(out.shape) if size > 1]
    if main.shape == out.shape and (len(wide) == 1 or len(operands) == 1):
        for tensor, other in views:
            if len(wide) == 1 and tensor is not main and tensor.shape == out.shape:
                _unite_vectors(trace, view, other, wide[0])
        trace.set_view(out, view)
        return
    for tensor, _ in views:
        trace.block(tensor, f"{trace.place} computes with its parameters ({call.name})")


def _unite_vectors(trace: Trace, one: View, other: View, dim: int) -> None:
    pair = trace.axis(one, dim, "follower"), trace.axis(other, dim, "follower")
    if pair[0] is not None and pair[1] is not None:
        trace.union(pair[0], pair[1])


def glu(trace: Trace, call: Call) -> None:
    """One half gates the other."""
    ids = trace.get(call.args[0])
    if ids is not None:
        one, other = ids.chunk(2, call.value(1, "dim", -1))
        trace.union(one, other)
        trace.set(call.out, one)


POINTWISE: dict[str, Rule] = {"glu": glu}
