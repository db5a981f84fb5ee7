"""An epoch that diverged is undone, and done again with half the learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from compressor.errors import Diverged
from compressor.layer_kinds import NORMS
from compressor.shards import local

if TYPE_CHECKING:
    from compressor.training.loop import Loop

# How often a training goes back one epoch before it gives up.
RETRIES = 3


def finite(model: nn.Module) -> bool:
    """Whether all weights are, and all statistics; the GPU is waited for once."""
    # Not every buffer: a mask of attention is infinite from the start.
    norms = [buffer for module in model.modules() if isinstance(module, NORMS) for buffer in module.buffers()]
    numbers = [local(tensor).isfinite().all() for tensor in (*model.parameters(), *norms)]
    return bool(torch.stack(numbers).all())


def undoable(run: Loop) -> dict[str, Any]:
    """What an epoch that diverges is undone to; the optimiser begins anew."""
    return {
        "model": run.model.state_dict(),
        "schedule": run.scheduler.last_epoch,
        "step": run.step,
        "splitting": run.splitting.state_dict() if run.splitting is not None else {},
        "average": run.average.state_dict() if run.average is not None else {},
    }


def undo(run: Loop, before: dict[str, Any], loss: float) -> None:
    """Go back to ``before`` and halve the learning rate; `Diverged` where that was once too often."""
    run.model.load_state_dict(before["model"])
    if run.retries == RETRIES:
        raise Diverged(
            f"training diverged {RETRIES + 1} times (loss {loss:g}), at last with a learning rate of "
            f"{run.recipe.learning_rate / 2**RETRIES:g}; use a smaller --lr"
        )
    run.retries += 1
    if run.splitting is not None:
        run.splitting.load_state_dict(before["splitting"])
    if run.average is not None:
        run.average.load_state_dict(before["average"])
    run.inner_optimizer.state.clear()
    run.step, run.scheduler.last_epoch = before["step"], before["schedule"]
    run.scheduler.base_lrs = [rate / 2 for rate in run.scheduler.base_lrs]
    factor = run.factor(before["schedule"])
    for group, rate in zip(run.inner_optimizer.param_groups, run.scheduler.base_lrs, strict=True):
        # The scheduler sets the rate only after the next step.
        group["lr"] = rate * factor
