"""What each operation does to the labels of its arguments."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressor.groups.contractions import CONTRACTIONS
from compressor.groups.labels import along, compact, head, varying
from compressor.groups.movements import MOVEMENTS
from compressor.groups.normalisations import NORMALISATIONS
from compressor.groups.trace import Call, Rule, Trace, View, fixed

# Elementwise operations that lack torch's own tag.
ELEMENTWISE = frozenset({
    "_prelu_kernel", "hardswish", "hardtanh", "hardsigmoid", "leaky_relu", "elu", "celu", "log_sigmoid_forward",
    "softplus", "where", "clamp", "fill", "masked_fill", "rrelu_with_noise", "dropout", "native_dropout", "bernoulli",
})  # fmt: skip
# Where one operand is zero so is the result, whatever the other is.
PRODUCTS = frozenset({"mul", "div", "_prelu_kernel"})
# A sum loses nothing with entries that are zero; everything else along the channels does.
SUMS = frozenset({"sum", "linalg_vector_norm"})
REDUCTIONS = SUMS | frozenset({
    "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "logsumexp", "argmax",
    "argmin", "median", "any", "all", "_softmax", "_log_softmax", "cumsum", "sort", "topk",
})  # fmt: skip


def rule_for(call: Call) -> Rule:
    """The rule for an operation; the last one is for those that nobody has thought of."""
    named = {**CONTRACTIONS, **MOVEMENTS, **NORMALISATIONS, **RULES}.get(call.name)
    if named is not None:
        return named
    if torch.Tag.pointwise in call.function.tags or call.name in ELEMENTWISE:
        return pointwise
    return reduction if call.name in REDUCTIONS else unknown


def pointwise(trace: Trace, call: Call) -> None:
    """Entries that meet at one place belong to the same channel."""
    out = next(leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor))
    operands = call.tensors()
    labelled = [(t, trace.get(t)) for t in operands]
    known = [labels.expand(out.shape) for t, labels in labelled if labels is not None and _fits(t, out)]
    if not known:
        _between_parameters(trace, call, out, operands)
        return
    main = max((compact(labels) for labels in known), key=lambda labels: len(varying(labels)))
    dims = varying(main)
    for tensor, labels in labelled:
        if not _fits(tensor, out):
            continue
        aligned = (1,) * (out.ndim - tensor.ndim) + tuple(tensor.shape)
        narrow = any(aligned[dim] == 1 for dim in dims)
        if labels is not None and narrow:
            trace.labels.block(labels, f"it is broadcast over other channels in {trace.place}")
        elif labels is not None:
            trace.labels.join(main, labels.expand(out.shape), fixed(trace))
        elif trace.view(tensor) is not None:
            _join_parameter(trace, call, tensor, main)
        elif not narrow and dims:
            trace.labels.block(main, fixed(trace))
    for leaf in tree_leaves(call.out):
        if isinstance(leaf, Tensor) and leaf.shape == out.shape:
            trace.set(leaf, main)


def _fits(tensor: Tensor, out: Tensor) -> bool:
    return tensor.ndim <= out.ndim


def _join_parameter(trace: Trace, call: Call, tensor: Tensor, main: Tensor) -> None:
    """A bare parameter or buffer beside labelled entries: its own axis is joined with the channels'."""
    view = trace.view(tensor)
    assert view is not None
    use = "follower" if call.name in PRODUCTS else "addend"
    for dim in varying(main):
        own = dim - (main.ndim - tensor.ndim)
        if own >= 0 and tensor.shape[own] > 1:
            labels = trace.axis(view, own, use)
            if labels is None:
                trace.labels.block(main, fixed(trace))
            else:
                trace.labels.join(head_over(main, dim), along(labels, dim, main.ndim), fixed(trace))


def head_over(labels: Tensor, dim: int) -> Tensor:
    """Labels as they are along ``dim``, and along every other dimension in which they vary."""
    return labels if varying(labels) != [dim] else head(labels, *(d for d in range(labels.ndim) if d != dim))


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
                _join_vectors(trace, view, other, wide[0])
        trace.set_view(out, view)
        return
    for tensor, _ in views:
        trace.block(tensor, f"{trace.place} computes with its parameters ({call.name})")


def _join_vectors(trace: Trace, one: View, other: View, dim: int) -> None:
    pair = trace.axis(one, dim, "follower"), trace.axis(other, dim, "follower")
    if pair[0] is not None and pair[1] is not None:
        trace.labels.join(pair[0], pair[1], fixed(trace))


def reduction(trace: Trace, call: Call) -> None:
    """Along other dimensions than the channels' nothing happens to them."""
    labels = trace.get(call.args[0])
    if labels is None:
        trace.block(call.args[0], f"{trace.place} computes with its parameters ({call.name})")
        return
    dims = _dims(call, labels.ndim)
    if call.name not in SUMS and set(dims) & set(varying(labels)):
        what = call.name.strip("_").removeprefix("linalg_")
        trace.labels.block(labels, f"{what} over the channels in {trace.place}")
    kept = head(labels, *dims)
    rest = [size for dim, size in enumerate(kept.shape) if dim not in dims]
    for out in tree_leaves(call.out):
        if isinstance(out, Tensor):
            whole = labels if out.shape == labels.shape else kept
            found = whole if out.ndim == labels.ndim else kept.reshape(rest)
            trace.set(out, found if varying(found) else None)


def _dims(call: Call, ndim: int) -> list[int]:
    place = 2 if call.name == "linalg_vector_norm" else 1
    asked = call.value(place, "dim")
    if asked is None or asked == [] or isinstance(asked, bool):
        asked = list(range(ndim))
    if call.name == "topk":
        asked = call.value(2, "dim", -1)
    return [dim % ndim for dim in (asked if isinstance(asked, list | tuple) else [asked])]


def unknown(trace: Trace, call: Call) -> None:
    """Poolings and the like: channels on dimensions that stay as they are pass through; the probe will tell."""
    labelled = [tensor for tensor in call.tensors() if trace.get(tensor) is not None]
    outs = [leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor)]
    labels = trace.get(labelled[0]) if len(labelled) == 1 else None
    for tensor in call.tensors():
        if trace.view(tensor) is not None:
            trace.block(tensor, f"{trace.place} uses its parameters in {call.name}")
    dims = varying(labels) if labels is not None else []
    for out in outs:
        if labels is None or out.ndim != labels.ndim or any(out.shape[d] != labels.shape[d] for d in dims):
            for tensor in labelled:
                trace.block(tensor, f"it passes through {call.name} in {trace.place}")
            return
        rest = [dim for dim in range(out.ndim) if dim not in dims]
        trace.set(out, head(labels, *rest))


def embedding(trace: Trace, call: Call) -> None:
    """Every row has all channels."""
    view = trace.view(call.args[0])
    labels = trace.axis(view, 1, "producer") if view is not None else None
    trace.set(call.out, labels)


def glu(trace: Trace, call: Call) -> None:
    """One half gates the other."""
    labels = trace.get(call.args[0])
    if labels is not None:
        one, other = labels.chunk(2, call.value(1, "dim", -1))
        trace.labels.join(one, other, fixed(trace))
        trace.set(call.out, one)


def written(trace: Trace, call: Call) -> None:
    """Writing into a part of another tensor: too hidden to follow."""
    for tensor in call.tensors():
        trace.block(tensor, f"{trace.place} writes it into a part of another tensor")


def copied(trace: Trace, call: Call) -> None:
    """A copy into the whole of a tensor takes its labels along."""
    target, source = call.args[0], call.args[1]
    if target._base is None and source.shape == target.shape and trace.get(target) is None:
        trace.set(target, trace.get(source))
    else:
        written(trace, call)


def ignored(trace: Trace, call: Call) -> None:
    """Its result says nothing about channels."""


RULES: dict[str, Rule] = {
    "embedding": embedding,
    "glu": glu,
    "copy": copied,
    "index_put": written,
    "slice_scatter": written,
    "select_scatter": written,
    "zeros_like": ignored,
    "ones_like": ignored,
    "empty_like": ignored,
    "new_zeros": ignored,
    "new_ones": ignored,
    "new_empty": ignored,
    "new_full": ignored,
    "_local_scalar_dense": ignored,
    "equal": ignored,
    "is_same_size": ignored,
}
