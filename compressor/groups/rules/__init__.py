"""What each operation does to the channel ids of its arguments: one rule an operation, by its name in aten."""

from __future__ import annotations

from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressor.groups.channel_ids import head, varying
from compressor.groups.rules.attention import ATTENTION
from compressor.groups.rules.matmul import MATMUL
from compressor.groups.rules.pointwise import POINTWISE, is_pointwise, pointwise
from compressor.groups.rules.reductions import REDUCTIONS
from compressor.groups.rules.splits import SPLITS
from compressor.groups.rules.taught import by_signature
from compressor.groups.rules.views import VIEWS
from compressor.groups.trace import Call, Rule, Trace
from compressor.teaching import OPERATIONS


def rule_for(call: Call) -> Rule:
    """The rule for an operation; the last one is for those that nobody has thought of."""
    if call.name in OPERATIONS:
        return by_signature
    if call.name in RULES:
        return RULES[call.name]
    # Of two tensors max and min are pointwise, of one they are reductions.
    return pointwise if is_pointwise(call) else REDUCTIONS.get(call.name, unknown)


def unknown(trace: Trace, call: Call) -> None:
    """Poolings and the like: channels on dimensions that stay as they are pass through; the probe will tell."""
    tracked = [tensor for tensor in call.tensors() if trace.get(tensor) is not None]
    outs = [leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor)]
    ids = trace.get(tracked[0]) if len(tracked) == 1 else None
    for tensor in call.tensors():
        if trace.view(tensor) is not None:
            trace.block(tensor, f"{trace.place} uses its parameters in {call.name}")
    dims = varying(ids) if ids is not None else []
    for out in outs:
        if ids is None or out.ndim != ids.ndim or any(out.shape[d] != ids.shape[d] for d in dims):
            for tensor in tracked:
                trace.block(tensor, f"it passes through {call.name} in {trace.place}")
            return
        rest = [dim for dim in range(out.ndim) if dim not in dims]
        trace.set(out, head(ids, *rest))


def written(trace: Trace, call: Call) -> None:
    """Writing into a part of another tensor: too hidden to follow."""
    for tensor in call.tensors():
        trace.block(tensor, f"{trace.place} writes it into a part of another tensor")


def copied(trace: Trace, call: Call) -> None:
    """A copy into the whole of a tensor takes its ids along."""
    target, source = call.args[0], call.args[1]
    if target._base is None and source.shape == target.shape and trace.get(target) is None:
        trace.set(target, trace.get(source))
    else:
        written(trace, call)


def ignored(trace: Trace, call: Call) -> None:
    """Its result says nothing about channels."""


RULES: dict[str, Rule] = {
    **MATMUL,
    **ATTENTION,
    **VIEWS,
    **SPLITS,
    **POINTWISE,
    "copy": copied,
    **dict.fromkeys(("index_put", "slice_scatter", "select_scatter"), written),
    **dict.fromkeys(
        (
            "zeros_like", "ones_like", "empty_like", "new_zeros", "new_ones", "new_empty", "new_full",
            "_local_scalar_dense", "equal", "is_same_size",
        ),
        ignored,
    ),
}  # fmt: skip
