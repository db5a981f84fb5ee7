"""Which precision trains a network faster here: measured once, and written down."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

from compressor.data.feeds import Data, channels_last, feed_of
from compressor.data.normalization import Normalization
from compressor.records.stages import Precision
from compressor.structures import mapped
from compressor.training.gpu_math import fast_math
from compressor.training.objective import loss_of
from compressor.training.recipe import Recipe

# Steps that are not timed, rounds of one step each way, and what the lower precision must save to be worth it.
WARM_UP, ROUNDS, SAVED = 2, 7, 0.1


def measured_precision(model: nn.Module, data: Data, recipe: Recipe, normalization: Normalization | None) -> Precision:
    """Time forward and backward passes of a copy of ``model`` on one batch in 32 bits and, in turn, in 16."""
    low = lower_precision(recipe)
    steps = {name: _step(model, data, replace(recipe, precision=name), normalization) for name in ("32", low)}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    with torch.random.fork_rng(), fast_math(recipe.on):
        for turn in range(WARM_UP + ROUNDS):
            for name, step in steps.items():
                seconds = step()
                if turn >= WARM_UP:
                    taken[name].append(seconds)
    ratio = statistics.median(ours / plain for plain, ours in zip(taken["32"], taken[low], strict=True))
    return Precision(chosen=low if ratio <= 1 - SAVED else "32", tried=low, ratio=round(ratio, 3))


def lower_precision(recipe: Recipe) -> str:
    """bf16, which needs no scaling of the loss; 16 on GPUs that only emulate it."""
    emulated = recipe.on.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    return "16" if emulated else "bf16"


def _step(model: nn.Module, data: Data, recipe: Recipe, normalization: Normalization | None) -> Callable[[], float]:
    """A function that does one forward and backward pass, and returns its seconds."""
    fabric, feed = recipe.fabric(), feed_of(data, normalization)
    given = feed.varied(most=recipe.batch_size, batch_size=recipe.batch_size, seed=recipe.seed, device=fabric.device)
    batch = mapped(next(iter(given)), lambda tensor: channels_last(tensor) if tensor.ndim == 4 else tensor)
    own = copy.deepcopy(model).to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    wrapped = fabric.setup_module(own.train())

    def step() -> float:
        own.zero_grad()
        began = time.perf_counter()
        fabric.backward(loss_of(feed.task, wrapped, batch))
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        return time.perf_counter() - began

    return step
