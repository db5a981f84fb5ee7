"""The user's optimisers: what must hold of them, and what a GradScaler does to their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from compressor.errors import UsageError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Handle(Protocol):
    """What ends an attachment."""

    def remove(self) -> None:
        """Do nothing more at the optimisers' steps."""


def check_optimizers(model: nn.Module, penalised: Sequence[Tensor], optimizers: Sequence[Optimizer]) -> None:
    """Raise `UsageError` unless ``optimizers`` train every penalised parameter, and one set of weights."""
    if not penalised:
        raise UsageError("this splitting penalises nothing; give it a penalty, target_macs or target_params")
    if not optimizers:
        raise UsageError("attach needs the optimizer that trains the model, got none")
    if len({id(optimizer) for optimizer in optimizers}) < len(optimizers):
        raise UsageError("attach got the same optimizer twice; give each once")
    for optimizer in optimizers:
        if not isinstance(optimizer, Optimizer):
            raise UsageError(f"attach takes optimizers of torch one by one, got a {type(optimizer).__name__}")
        # Schedule-free optimisers evaluate the network at other weights than those that they train.
        if callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None)):
            raise UsageError(
                f"{type(optimizer).__name__} keeps a second set of weights for evaluation, which stays unpenalised; "
                "use an optimizer with one set, or average the weights and pass the copy to project(model=...)"
            )
    held = {parameter for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]}
    if held.isdisjoint(model.parameters()):
        raise UsageError("the optimizer holds none of the model's parameters; attach the one that trains it")
    wanted = set(penalised)
    missing = [name for name, p in model.named_parameters() if p in wanted and p.requires_grad and p not in held]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(
            f"no attached optimizer trains {missing[0]}{more}, which would be penalised; attach all optimizers in one "
            "call, or freeze these parameters (requires_grad_(False)) before the splitting is made"
        )


def innermost(optimizer: Optimizer) -> Optimizer:
    """The optimizer whose steps are hooked: that inside of wrappers such as Accelerate's."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def skips(optimizer: Optimizer) -> bool:
    """Whether this step of a fused optimiser is one that a GradScaler skips; others it does not even call."""
    overflown = getattr(optimizer, "found_inf", None)
    return overflown is not None and bool(overflown)


def loss_scale(optimizer: Optimizer) -> float:
    """By what a GradScaler has multiplied the gradients that a fused optimiser is about to unscale; else 1."""
    scale = getattr(optimizer, "grad_scale", None)
    return 1.0 if scale is None else float(scale)


def refuse_capture() -> None:
    """Raise `UsageError` while a CUDA graph is captured."""
    if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        raise UsageError(
            "a step that is captured in a CUDA graph would be replayed with the same beta; capture the forward and "
            "backward pass only"
        )


def hook_in(
    optimizers: Sequence[Optimizer],
    before: Callable[[Optimizer], None],
    after: Callable[[], None],
    handles: list[RemovableHandle],
    *,
    once: bool,
) -> Handle:
    """Call ``before`` at every step of each of ``optimizers`` and ``after`` after the steps of the last.

    A step with a closure, which computes the gradients in it, is one like others: ``before`` is called after the
    closure. Where that may be ``once`` a step alone, a closure that is called again raises `UsageError`.
    Steps that a GradScaler skips are none. ``handles`` holds what undoes that; it is empty again when the handle that
    is returned has been removed.
    """

    def first(optimizer: Optimizer, args: Any, kwargs: Any) -> Arguments | None:
        refuse_capture()
        if any(callable(value) for value in (*args[1:], *kwargs.values())):
            follow = partial(_followed, before=partial(before, optimizer), once=once)
            changed = [follow(value) if callable(value) else value for value in args[1:]]
            return (args[0], *changed), {k: follow(v) if callable(v) else v for k, v in kwargs.items()}
        if not skips(optimizer):
            before(optimizer)
        return None

    def last(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not skips(optimizer):
            after()

    # A compiled step would trace into the hooks and be compiled anew at every one.
    first, last = map(torch.compiler.disable, (first, last))
    handles += [optimizer.register_step_pre_hook(first) for optimizer in optimizers]
    handles.append(optimizers[-1].register_step_post_hook(last))
    return _Attachment(handles)


def _followed(closure: Callable[[], Any], before: Callable[[], None], once: bool) -> Callable[[], Any]:
    """``closure``, after which ``before`` is called, the first time that it is."""
    calls = count()

    def evaluate() -> Any:
        loss = closure()
        if not next(calls):
            before()
        elif once:
            raise UsageError(
                "this method adds its penalty to the gradients of a step, and this optimizer calls its closure several "
                "times a step; use one that needs a single gradient"
            )
        return loss

    outside_of_compiled: Callable[[], Any] = torch.compiler.disable(evaluate)  # type: ignore[no-untyped-call]
    return outside_of_compiled


class _Attachment:
    def __init__(self, handles: list[RemovableHandle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
