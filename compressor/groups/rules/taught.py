"""The rule of what users have taught: its signature says which axes are the same channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor
from torch.utils._pytree import tree_leaves

from compressor.checkpoints.size_names import SIZES
from compressor.errors import UsageError
from compressor.groups.channel_ids import along, head, varying
from compressor.groups.trace import Call, Trace
from compressor.teaching import FIXED_AXIS, OPERATIONS, Lesson, Operand

# A tensor and the names of its axes.
Named = tuple[Tensor, tuple[str, ...], Operand]


def by_signature(trace: Trace, call: Call) -> None:
    """The rule of an operation that was taught."""
    apply(trace, call, OPERATIONS[call.name], {})


def apply(trace: Trace, call: Call, lesson: Lesson, parameters: Mapping[str, Tensor]) -> None:
    """Unite the ids of axes of one name, and give the results theirs; parameters are those that have names."""
    outs = [leaf for leaf in tree_leaves(call.out) if isinstance(leaf, Tensor)]
    given = [(operand, parameters[operand.name]) for operand in lesson.operands if operand.name is not None]
    given += zip(lesson.given, call.tensors(), strict=False)
    operands, results = _named(given), _named(zip(lesson.results, outs, strict=False))
    if operands is None or results is None or len(given) < len(lesson.operands) or len(outs) != len(lesson.results):
        for tensor in call.tensors():
            trace.block(tensor, f"{trace.place} calls {call.name} with other axes than were taught")
        return
    vectors = _activations(trace, call, operands)
    for tensor, axes, operand in operands:
        if (view := trace.view(tensor)) is not None:
            for dim, axis in enumerate(axes):
                use = _use(axis, operand, vectors, results)
                ids = trace.axis(view, dim, use) if use is not None else None
                if ids is not None:
                    trace.union(vectors.setdefault(axis, ids), ids)
    _give(trace, call, results, vectors)
    _count(trace, lesson, vectors)


def _named(pairs: Sequence[tuple[Operand, Tensor]] | Iterator[tuple[Operand, Tensor]]) -> list[Named] | None:
    found = [(tensor, operand.at(tensor.ndim), operand) for operand, tensor in pairs]
    named = [(tensor, axes, operand) for tensor, axes, operand in found if axes is not None]
    return named if len(named) == len(found) else None


def _activations(trace: Trace, call: Call, operands: Sequence[Named]) -> dict[str, Tensor]:
    """The channels along each axis, as far as tensors of the forward pass have them."""
    vectors: dict[str, Tensor] = {}
    for tensor, axes, _ in operands:
        ids = trace.get(tensor)
        dims = varying(ids) if ids is not None else []
        if ids is None or not dims:
            continue
        if len(dims) > 1 or axes[dims[0]] == FIXED_AXIS:
            trace.ids.block(ids, f"{call.name} in {trace.place} takes its channels together")
            continue
        vector = head(ids, *(dim for dim in range(ids.ndim) if dim != dims[0])).flatten()
        trace.union(vectors.setdefault(axes[dims[0]], vector), vector)
    for tensor, axes, _ in operands:
        if trace.view(tensor) is None and trace.get(tensor) is None:
            for axis in vectors.keys() & {axis for dim, axis in enumerate(axes) if tensor.shape[dim] > 1}:
                trace.ids.block(vectors[axis], trace.fixed)
    return vectors


def _use(axis: str, operand: Operand, vectors: Mapping[str, Tensor], results: Sequence[Named]) -> str | None:
    """What a parameter does along an axis; None along one on which nothing goes."""
    kept = any(axis in axes for _, axes, _ in results)
    if axis == FIXED_AXIS or not (kept or axis in vectors):
        return None
    if not kept:
        return "consumer"
    if axis not in vectors:
        return "producer"
    return "addend" if operand.added else "follower"


def _give(trace: Trace, call: Call, results: Sequence[Named], vectors: Mapping[str, Tensor]) -> None:
    for out, axes, _ in results:
        dims = [dim for dim, axis in enumerate(axes) if axis in vectors and out.shape[dim] > 1]
        for dim in dims[1:]:
            trace.ids.block(vectors[axes[dim]], f"{call.name} in {trace.place} makes it beside other channels")
        trace.set(out, along(vectors[axes[dims[0]]], dims[0], out.ndim) if dims else None)


def _count(trace: Trace, lesson: Lesson, vectors: Mapping[str, Tensor]) -> None:
    for attribute, axis in lesson.sizes.items():
        if attribute not in SIZES:
            raise UsageError(f"a size that changes must be called one of {', '.join(SIZES)}, got {attribute!r}")
        if axis in vectors:
            trace.counted(trace.where, attribute, vectors[axis])
