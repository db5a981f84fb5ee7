"""Sums, means and norms: what runs over channels changes when some of them go."""

from __future__ import annotations

from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressor.architectures.norms import SlimLayerNorm, SlimRMSNorm
from compressor.groups.channel_ids import along, head, varying
from compressor.groups.trace import Call, Rule, Trace

# A sum loses nothing with entries that are zero; everything else along the channels does.
SUMS = frozenset({"sum", "linalg_vector_norm"})
OVER_DIMENSIONS = (
    *SUMS, "mean", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod", "logsumexp", "argmax",
    "argmin", "median", "any", "all", "_softmax", "_log_softmax", "cumsum", "sort", "topk",
)  # fmt: skip


def reduction(trace: Trace, call: Call) -> None:
    """Along other dimensions than the channels' nothing happens to them."""
    ids = trace.get(call.args[0])
    if ids is None:
        trace.block(call.args[0], f"{trace.place} computes with its parameters ({call.name})")
        return
    dims = _dims(call, ids.ndim)
    # Means in these norms stand for those of all channels that there once were.
    if call.name not in SUMS and set(dims) & set(varying(ids)) and not trace.runs(SlimLayerNorm, SlimRMSNorm):
        what = call.name.strip("_").removeprefix("linalg_")
        trace.ids.block(ids, f"{what} over the channels in {trace.place}")
    kept = head(ids, *dims)
    rest = [size for dim, size in enumerate(kept.shape) if dim not in dims]
    for out in tree_leaves(call.out):
        if isinstance(out, Tensor):
            whole = ids if out.shape == ids.shape else kept
            left = whole if out.ndim == ids.ndim else kept.reshape(rest)
            trace.set(out, left if varying(left) else None)


def _dims(call: Call, ndim: int) -> list[int]:
    place = 2 if call.name == "linalg_vector_norm" else 1
    asked = call.value(place, "dim")
    if asked is None or asked == [] or isinstance(asked, bool):
        asked = list(range(ndim))
    if call.name == "topk":
        asked = call.value(2, "dim", -1)
    return [dim % ndim for dim in (asked if isinstance(asked, list | tuple) else [asked])]


def batch_norm(trace: Trace, call: Call) -> None:
    """One entry of weight, bias and statistics per channel."""
    ids = trace.get(call.args[0])
    if ids is None:
        return
    for place, use in ((1, "norm"), (2, "norm"), (3, "statistic"), (4, "statistic")):
        tensor = call.args[place]
        vector = trace.vector(tensor, use) if trace.view(tensor) is not None else trace.get(tensor)
        if vector is not None:
            trace.union(ids, along(vector, 1, ids.ndim))
    trace.set(call.out[0], ids)


def group_norm(trace: Trace, call: Call) -> None:
    """A channel is a whole group of the norm: within a group every entry counts."""
    ids, groups = trace.get(call.args[0]), call.args[6]
    if ids is None:
        return
    if groups == 1:
        trace.ids.block(ids, f"{trace.place} normalises across all channels")
    split = ids.reshape(ids.shape[0], groups, ids.shape[1] // groups, -1)
    trace.union(split, head(split, 2, 3))
    for tensor in call.args[1:3]:
        vector = trace.vector(tensor, "norm")
        if vector is not None:
            trace.union(ids, along(vector, 1, ids.ndim))
    trace.set(call.out[0], ids)


def layer_norm(trace: Trace, call: Call) -> None:
    """Its statistics run over the channels: without some of them they are others."""
    ids = trace.get(call.args[0])
    if ids is None:
        return
    over = range(ids.ndim - len(call.args[1]), ids.ndim)
    if set(over) & set(varying(ids)) and not trace.runs(SlimLayerNorm, SlimRMSNorm):
        weightless = " without a weight for each" if call.args[2] is None and len(over) == 1 else ""
        trace.ids.block(ids, f"{trace.place} normalises across the channels{weightless}")
    trace.set(next(leaf for leaf in tree_leaves(call.out)), ids)


REDUCTIONS: dict[str, Rule] = {
    **dict.fromkeys(OVER_DIMENSIONS, reduction),
    **dict.fromkeys(
        (
            "native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
        ),
        batch_norm,
    ),
    "native_group_norm": group_norm,
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), layer_norm),
}  # fmt: skip
