"""The user's optimisers: what must hold of them, and what a GradScaler does to their steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor.errors import UsageError


def check_optimizers(model: nn.Module, penalised: Sequence[Tensor], optimizers: Sequence[Optimizer]) -> None:
    """Raise `UsageError` unless ``optimizers`` train every penalised parameter, and one set of weights."""
    if not penalised:
        raise UsageError("this splitting penalises nothing; give it a penalty, target_macs or target_params")
    if not optimizers:
        raise UsageError("attach needs the optimizer that trains the model, got none")
    for optimizer in optimizers:
        # Schedule-free optimisers evaluate the network at other weights than those that they train.
        if callable(getattr(optimizer, "train", None)) and callable(getattr(optimizer, "eval", None)):
            raise UsageError(
                f"{type(optimizer).__name__} keeps a second set of weights for evaluation, which stays unpenalised; "
                "use an optimizer with one set, or average the weights and pass the copy to project(model=...)"
            )
    held = {parameter for optimizer in optimizers for group in optimizer.param_groups for parameter in group["params"]}
    if held.isdisjoint(penalised):
        raise UsageError("the optimizer holds none of the model's parameters; attach the one that trains it")
    wanted = set(penalised)
    missing = [name for name, p in model.named_parameters() if p in wanted and p.requires_grad and p not in held]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(
            f"no attached optimizer trains {missing[0]}{more}, which would be penalised; attach all optimizers in one "
            "call, or freeze these parameters (requires_grad_(False)) before the splitting is made"
        )


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
