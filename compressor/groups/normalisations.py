"""Norms: one entry per channel, or statistics that run over channels."""

from __future__ import annotations

from torch.utils._pytree import tree_leaves

from compressor.groups.labels import along, head, varying
from compressor.groups.trace import Call, Rule, Trace, fixed


def batch_norm(trace: Trace, call: Call) -> None:
    """One entry of weight, bias and statistics per channel."""
    labels = trace.get(call.args[0])
    if labels is None:
        return
    for place, use in ((1, "norm"), (2, "norm"), (3, "statistic"), (4, "statistic")):
        tensor = call.args[place]
        view, own = trace.view(tensor), trace.get(tensor)
        vector = trace.axis(view, 0, use) if view is not None else own
        if vector is not None:
            trace.labels.join(labels, along(vector, 1, labels.ndim), fixed(trace))
    trace.set(call.out[0], labels)


def group_norm(trace: Trace, call: Call) -> None:
    """A channel is a whole group of the norm: within a group every entry counts."""
    labels, groups = trace.get(call.args[0]), call.args[6]
    if labels is None:
        return
    if groups == 1:
        trace.labels.block(labels, f"{trace.place} normalises across all channels")
    split = labels.reshape(labels.shape[0], groups, labels.shape[1] // groups, -1)
    trace.labels.join(split, head(split, 2, 3), fixed(trace))
    for tensor in call.args[1:3]:
        view = trace.view(tensor)
        vector = trace.axis(view, 0, "norm") if view is not None else None
        if vector is not None:
            trace.labels.join(labels, along(vector, 1, labels.ndim), fixed(trace))
    trace.set(call.out[0], labels)


def layer_norm(trace: Trace, call: Call) -> None:
    """Its statistics run over the channels: without some of them they are others."""
    labels = trace.get(call.args[0])
    if labels is None:
        return
    over = range(labels.ndim - len(call.args[1]), labels.ndim)
    if set(over) & set(varying(labels)):
        trace.labels.block(labels, f"{trace.place} normalises across the channels")
    trace.set(next(leaf for leaf in tree_leaves(call.out)), labels)


NORMALISATIONS: dict[str, Rule] = {
    "native_batch_norm": batch_norm,
    "cudnn_batch_norm": batch_norm,
    "_native_batch_norm_legit": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm,
    "native_group_norm": group_norm,
    "native_layer_norm": layer_norm,
    "_fused_rms_norm": layer_norm,
}
