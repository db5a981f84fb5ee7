"""One forward pass, operation by operation: what torch runs is followed by its rule on the channel ids."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from compressor.equivalence import Inputs, outputs
from compressor.errors import CompressorError, UsageError, first_line
from compressor.groups.rules import rule_for
from compressor.groups.taught_modules import taught_modules
from compressor.groups.trace import Call, Cut, Rule, Trace
from compressor.groups.training_only import training_outputs
from compressor.hooks import hooked, running
from compressor.products import draws
from compressor.structures import tensors
from compressor.teaching import OPERATIONS

# Looked at in every operation, so that neither signals nor threads are needed to stop.
TRACE_SECONDS = 120.0


def traced(
    model: nn.Module,
    inputs: Inputs,
    switches: Sequence[str],
    cuts: Mapping[int, Cut],
    undecided: Mapping[str, str] | None = None,
) -> Trace:
    """What a forward pass tells; with ``switches`` also one as in training. `UsageError` after two minutes.

    What the modules called in ``undecided`` see must stay, for the reason given there.
    """
    trace = Trace(model, cuts, undecided or {})
    try:
        with (
            running(model) as trace.stack,
            _seen_by_undecided(model, trace),
            taught_modules(model, trace, _follow),
            _Dispatch(trace),
        ):
            results = outputs(model, inputs) + training_outputs(model, inputs, switches)
    except CompressorError:
        raise
    except Exception as error:  # whatever the network's code raises when it is watched
        raise UsageError(
            f"the channels cannot be followed through {trace.place} ({type(error).__name__}: {first_line(error)})"
        ) from error
    trace.end(results)
    return trace


def _name(function: Any) -> str:
    """Torch's own operations without their namespace; one that works in place is called like the other."""
    name: str = function._schema.name
    own = name.removeprefix("aten::").rstrip("_")
    return name if name in OPERATIONS else own


def _seen_by_undecided(model: nn.Module, trace: Trace) -> AbstractContextManager[None]:
    """Block what these modules are called with, what they call others with, and what comes back."""
    names = {module: name for name, module in model.named_modules()}

    def see(module: nn.Module, callers: Sequence[tuple[str, nn.Module]], values: Any) -> None:
        for name in {names[module], *(name for name, _ in callers)} & trace.undecided.keys():
            for _, tensor in tensors(values):
                trace.see(tensor, name)

    def enter(module: nn.Module, *values: Any) -> None:
        see(module, trace.stack[-2:-1], values)

    def leave(module: nn.Module, *values: Any) -> None:
        see(module, trace.stack[-1:], values)

    def handles() -> Iterator[RemovableHandle]:
        for module in names if trace.undecided else ():
            yield module.register_forward_pre_hook(enter, with_kwargs=True)
            yield module.register_forward_hook(leave, with_kwargs=True)

    return hooked(handles())


def _follow(trace: Trace, call: Call, rule: Rule) -> None:
    """The rule of an operation; where it does not know this form of it, nothing that meets here may go."""
    try:
        rule(trace, call)
    except UsageError:
        raise
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
        if trace.paused:
            return function(*args, **(kwargs or {}))
        trace.step += 1
        if time.monotonic() > self._deadline:
            raise UsageError(
                f"following the channels takes more than {TRACE_SECONDS:g} s (it has come to {trace.place}, "
                f"operation {trace.step}); a smaller example input may do"
            )
        out = function(*args, **(kwargs or {}))
        call = Call(function, _name(function), args, kwargs or {}, out)
        if draws(function, args, call.kwargs):
            trace.draws()
            for tensor in call.tensors():
                trace.block(tensor, trace.fixed)
        for tensor in call.tensors():
            trace.reads(tensor, call)
        trace.number(call)
        if any(trace.knows(tensor) for tensor in call.tensors()):
            _follow(trace, call, rule_for(call))
        elif call.name in {"zeros", "new_zeros"} and trace.stack and isinstance(trace.stack[-1][1], nn.RNNBase):
            # Its first state: unit j of every layer and direction is one channel, since they share one width.
            trace.set(out, trace.ids.fresh(out.shape[-1]))
        if trace.where in trace.undecided:
            for tensor in [*call.tensors(), *(leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor))]:
                trace.see(tensor, trace.where)
        return out
