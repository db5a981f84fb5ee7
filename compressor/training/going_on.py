"""What a training goes on with: everything that its next step reads, and how a training takes it over."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from compressor.errors import CompressorWarning
from compressor.training.form import require_optimizer_form, require_rates, require_same_form
from compressor.training.sharding import cut_as, cut_optimizer, other_buffers, set_buffer
from compressor.training.undoing import undoable

if TYPE_CHECKING:
    from compressor.training.loop import Loop


def state_of(run: Loop) -> dict[str, Any]:
    """Everything that the next step reads: plain data and tensors, which are not copied."""
    device = run.fabric.device
    return {
        **undoable(run),
        "buffers": other_buffers(run.model),
        "optimizer": run.inner_optimizer.state_dict(),
        "rates": list(run.scheduler.base_lrs),
        "retries": run.retries,
        "accuracy": run.telling.accuracy,
        "precision": run.fabric.strategy.precision.state_dict(),
        "shuffle": run.shuffle.get_state(),
        "random": torch.get_rng_state(),
        "random on the device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "device": device.type,
        "processes": run.share.size,
        "begun": run.begun,
    }


def offer(run: Loop, keep: Callable[[Callable[[], dict[str, Any]]], None] | None) -> None:
    """Give ``keep`` a function that gives the state of ``run``, which only the first rank keeps.

    What lies in shards all ranks bring together, if it is asked for; so they all call this.
    """
    if run.sharded is None:
        if keep is not None:
            keep(partial(state_of, run))
        return
    gathered, asked = run.sharded.gathered, False

    def gather() -> dict[str, Any]:
        nonlocal asked
        asked = run.ranks.of_first(lambda: True)
        whole: dict[str, Any] = gathered(state_of(run))
        return whole

    if run.speaks:
        if keep is not None:
            keep(gather)
        if not asked:
            run.ranks.of_first(lambda: False)
    elif run.ranks.of_first(lambda: False):
        gathered(state_of(run))


def go_on(run: Loop, state: Mapping[str, Any]) -> None:
    """Begin where ``state`` was taken, in a training with the same arguments."""
    device = run.fabric.device
    # Older ones were written after whole epochs of one process.
    state = {"processes": 1, "begun": None, **state}
    require_same_form(state, state_of(run), beside=("random on the device", "begun"))
    require_optimizer_form(state["optimizer"], run.inner_optimizer)
    require_rates(state["rates"], run.scheduler.base_lrs)
    if state["device"] != device.type and run.speaks:
        warnings.warn(
            f"the training was begun on {state['device']} and goes on on {device.type}: "
            "its result is that of neither alone",
            CompressorWarning,
            stacklevel=3,
        )
    if state["processes"] != run.share.size and run.speaks:
        warnings.warn(
            f"the training was begun by {_processes(state['processes'])} and goes on with "
            f"{_processes(run.share.size)}: its result is that of neither alone",
            CompressorWarning,
            stacklevel=3,
        )
    if (begun := state["begun"]) is not None:
        require_same_form(begun, run.begin(), beside=("loss",))
        before = {**begun["before"], "model": cut_as(begun["before"]["model"], run.model.state_dict())}
        run.begun = {**begun, "before": before, "loss": begun["loss"].to(device)}
    run.model.load_state_dict(cut_as(state["model"], run.model.state_dict()))
    for name, buffer in state["buffers"].items():
        set_buffer(run.model, name, buffer.to(device))
    # The wrapper's own, which takes over what the inner one has replaced.
    run.optimizer.load_state_dict(cut_optimizer(state["optimizer"], run.inner_optimizer))
    run.scheduler.last_epoch, run.scheduler.base_lrs = state["schedule"], list(state["rates"])
    run.step, run.retries, run.telling.accuracy = state["step"], state["retries"], state["accuracy"]
    if run.splitting is not None:
        run.splitting.load_state_dict(state["splitting"])
    if run.average is not None:
        run.average.load_state_dict(state["average"])
    run.fabric.strategy.precision.load_state_dict(state["precision"])
    run.shuffle.set_state(state["shuffle"])
    torch.set_rng_state(state["random"])
    if device.type == "cuda" and state["random on the device"] is not None:
        torch.cuda.set_rng_state(state["random on the device"], device)


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"
