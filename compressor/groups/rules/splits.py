"""Operations that cut channels into pieces that are tensors of their own: ``chunk``, ``split``, slices."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from compressor.architectures.attention import SlimAttention
from compressor.architectures.relative_attention import SlimRelativeAttention
from compressor.architectures.window_attention import SlimWindowAttention
from compressor.groups.channel_ids import head, varying
from compressor.groups.rules.views import moved
from compressor.groups.trace import Call, Rule, Trace

# What GPT-2 calls the width of its queries, keys and values, which it splits.
SPLIT_SIZE = "split_size"


def split(trace: Trace, call: Call) -> None:
    """Pieces of one dimension; equal ones may come from ``chunk``, which follows the width."""
    moved(trace, call)
    ids = trace.get(call.args[0])
    dim = call.value(2, "dim", 0)
    pieces = [(out, trace.get(out)) for out in call.out]
    if ids is None or dim % ids.ndim not in varying(ids) or _states_widths(trace) or _counted(trace, pieces, dim):
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


def _counted(trace: Trace, pieces: Sequence[tuple[Tensor, Tensor | None]], dim: int) -> bool:
    """Whether an attribute says how wide every piece is: then it follows, and places at the same one go together."""
    stated = getattr(trace.stack[-1][1], SPLIT_SIZE, None) if trace.stack else None
    if not isinstance(stated, int) or any(own is None or out.shape[dim] != stated for out, own in pieces):
        return False
    for _, own in pieces:
        assert own is not None
        others = [other for other in range(own.ndim) if other != dim % own.ndim]
        trace.counted(trace.where, SPLIT_SIZE, head(own, *others).flatten())
    return True


def _states_widths(trace: Trace) -> bool:
    """Whether the running module knows how wide its pieces are, however wide the others are."""
    return trace.runs(SlimAttention, SlimRelativeAttention, SlimWindowAttention)


SPLITS: dict[str, Rule] = {
    **dict.fromkeys(("split", "unsafe_split", "split_with_sizes", "unsafe_split_with_sizes"), split),
    "slice": sliced,
}
