"""One forward pass, operation by operation: what torch runs is followed by its rule on the channel ids."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compressor.equivalence import Inputs, outputs
from compressor.errors import CompressorError, UsageError, first_line
from compressor.groups.rules import rule_for
from compressor.groups.trace import Call, Cut, Trace
from compressor.groups.training_only import training_outputs
from compressor.hooks import running

# Looked at in every operation, so that neither signals nor threads are needed to stop.
TRACE_SECONDS = 120.0


def traced(model: nn.Module, inputs: Inputs, switches: Sequence[str], cuts: Mapping[int, Cut]) -> Trace:
    """What a forward pass tells; with ``switches`` also one as in training. `UsageError` after two minutes."""
    trace = Trace(model, cuts)
    try:
        with running(model) as trace.stack, _Dispatch(trace):
            results = outputs(model, inputs) + training_outputs(model, inputs, switches)
    except CompressorError:
        raise
    except Exception as error:  # whatever the network's code raises when it is watched
        raise UsageError(
            f"the channels cannot be followed through {trace.place} ({type(error).__name__}: {first_line(error)})"
        ) from error
    trace.end(results)
    return trace


def _follow(trace: Trace, call: Call) -> None:
    """The rule of an operation; where it does not know this form of it, nothing that meets here may go."""
    try:
        rule_for(call)(trace, call)
    except Exception as error:  # whatever torch raises where a rule puts together what does not fit
        for tensor in call.tensors():
            trace.block(tensor, f"{trace.place} uses {call.name} in a form that is not known ({first_line(error)})")
        for out in tree_leaves(call.out):
            if isinstance(out, Tensor):
                trace.set(out, None)


class _Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, trace: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._trace = trace
        self._deadline = time.monotonic() + TRACE_SECONDS

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, then its rule on the ids of its arguments."""
        trace = self._trace
        trace.step += 1
        if time.monotonic() > self._deadline:
            raise UsageError(
                f"following the channels takes more than {TRACE_SECONDS:g} s (it has come to {trace.place}, "
                f"operation {trace.step}); a smaller example input may do"
            )
        out = function(*args, **(kwargs or {}))
        call = Call(function, function._schema.name.partition("::")[2].rstrip("_"), args, kwargs or {}, out)
        tensors = call.tensors()
        for tensor in tensors:
            trace.reads(tensor, call)
        if any(trace.knows(tensor) for tensor in tensors):
            _follow(trace, call)
        elif call.name in {"zeros", "new_zeros"} and trace.stack and isinstance(trace.stack[-1][1], nn.RNNBase):
            # Its first state: unit j of every layer and direction is one channel, since they share one width.
            trace.set(out, trace.ids.fresh(out.shape[-1]))
        return out
