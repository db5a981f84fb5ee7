"""Operations that cut channels into pieces that are tensors of their own: ``chunk``, ``split``, slices."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from compressor.architectures.attention import SlimAttention
from compressor.architectures.relative_attention import SlimRelativeAttention
from compressor.architectures.window_attention import SlimWindowAttention
from compressor.groups.channel_ids import line, varying
from compressor.groups.rules.views import moved
from compressor.groups.trace import Call, Rule, Trace

# What modules call the width of each of several equal pieces, as GPT-2, Res2Net and YOLO do, or a list of widths.
SPLIT_SIZE = ("split_size", "width", "c")
SPLIT_SIZES = ("splits", "split_sizes", "split_indexes", "split_indices", "input_split", "in_split", "channel_splits")


def split(trace: Trace, call: Call) -> None:
    """Pieces of one dimension; equal ones may come from ``chunk``, which follows the width."""
    moved(trace, call)
    ids = trace.get(call.args[0])
    dim = call.value(2, "dim", 0)
    pieces = [(out, trace.get(out)) for out in call.out]
    if ids is None or dim % ids.ndim not in varying(ids) or _states_widths(trace) or _counted(trace, call, pieces):
        return
    if len({out.shape for out in call.out}) == 1 and _split(trace, ids, dim % ids.ndim, len(pieces)):
        first = pieces[0][1]
        for out, own in pieces:
            if own is not None and first is not None:
                trace.union(first, own, "")
                trace.set(out, first)


def sliced(trace: Trace, call: Call) -> None:
    """A slice that is one of several equal pieces may follow the width, as ``x[:, : x.shape[1] // 2]`` does."""
    moved(trace, call)
    ids, out = trace.get(call.args[0]), trace.get(call.out)
    dim, start, step = call.value(1, "dim", 0), call.value(2, "start") or 0, call.value(4, "step", 1)
    if ids is None or out is None or step != 1 or dim % ids.ndim not in varying(ids) or _states_widths(trace):
        return
    dim, size, width = dim % ids.ndim, call.args[0].shape[dim], call.out.shape[dim]
    start += size if start < 0 else 0
    if not 0 < width < size or size % width or start % width or not _split(trace, ids, dim, size // width):
        return
    first = ids.narrow(dim, 0, width)
    for place in range(width, size, width):
        trace.union(first, ids.narrow(dim, place, width), "")
    trace.set(call.out, first)


def _split(trace: Trace, ids: Tensor, dim: int, pieces: int) -> bool:
    """Whether these pieces are read as one channel at each place."""
    trace.splits.add(trace.step)
    return trace.cut(ids, dim, pieces) is not None


def _counted(trace: Trace, call: Call, pieces: Sequence[tuple[Tensor, Tensor | None]]) -> bool:
    """Whether attributes say how wide the pieces are, one number for all or a list: then these follow."""
    dim = call.value(2, "dim", 0)
    widths = [out.shape[dim] for out, _ in pieces]
    attribute, places = _stated(trace, call, widths)
    for place, (_, own) in zip(places, pieces, strict=False):
        if own is not None:
            trace.counted(trace.where, attribute, line(own, dim % own.ndim), place)
    return bool(places)


def _stated(trace: Trace, call: Call, widths: Sequence[int]) -> tuple[str, list[int]]:
    """The attribute of the running module that holds these widths, and the place of each in it; no places without."""
    module = trace.stack[-1][1] if trace.stack else None
    for name in SPLIT_SIZES:
        said = getattr(module, name, None)
        if isinstance(said, list | tuple) and list(said) == widths:
            return name, list(range(len(widths)))
    # By one number alone ``chunk`` comes here too, which needs none and which YOLO uses.
    names = SPLIT_SIZE if "with_sizes" in call.name else SPLIT_SIZE[:-1]
    name = next((name for name in names if set(widths) == {getattr(module, name, None)}), "")
    return name, [0] * len(widths) if name else []


def _states_widths(trace: Trace) -> bool:
    """Whether the running module knows how wide its pieces are, however wide the others are."""
    return trace.runs(SlimAttention, SlimRelativeAttention, SlimWindowAttention)


SPLITS: dict[str, Rule] = {
    **dict.fromkeys(("split", "unsafe_split", "split_with_sizes", "unsafe_split_with_sizes"), split),
    "slice": sliced,
}
