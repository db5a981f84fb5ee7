"""Foreign shortcuts that pad channels by widths in their code: an equal one of ours takes their place."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.equivalence import Inputs, eval_mode, outputs


@torch.no_grad()
def equal_shortcuts(
    model: nn.Module, inputs: Inputs, names: Collection[str] | None = None
) -> dict[str, PaddedShortcut]:
    """For every foreign module that does what a `PaddedShortcut` does, that shortcut; ``names`` limits the search."""
    candidates = {
        name: module for name, module in model.named_modules() if (names is None or name in names) and _may_pad(module)
    }
    if not candidates:
        return {}
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in candidates}
    hooks = [module.register_forward_hook(_watch(seen[name])) for name, module in candidates.items()]
    try:
        outputs(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    found = {name: _equal(module, seen[name]) for name, module in candidates.items()}
    return {name: shortcut for name, shortcut in found.items() if shortcut is not None}


def _may_pad(module: nn.Module) -> bool:
    """A module of the user's own that holds nothing."""
    foreign = not isinstance(module, PaddedShortcut) and not type(module).__module__.startswith("torch.")
    return foreign and not [*module.children(), *module.parameters(), *module.buffers()]


def _watch(seen: list[tuple[Tensor, Tensor]]) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        if len(args) == 1 and isinstance(args[0], Tensor) and isinstance(out, Tensor) and args[0].ndim == out.ndim == 4:
            seen.append((args[0], out))

    return hook


def _equal(module: nn.Module, seen: list[tuple[Tensor, Tensor]]) -> PaddedShortcut | None:
    """The shortcut that gave the same outputs, entry for entry, on what was seen and on random numbers."""
    if not seen:
        return None
    one, out = seen[0]
    missing = out.shape[1] - one.shape[1]
    step = -(-one.shape[2] // out.shape[2])
    if missing <= 0 or out[:, 0].shape != one[:, 0, ::step, ::step].shape:
        return None
    generator = torch.Generator().manual_seed(0)
    # What was seen may be zero in many channels, and so fit several shortcuts.
    fresh = torch.randn(one.shape, generator=generator, dtype=one.dtype).to(one.device)
    with eval_mode(module):
        pairs = [(fresh, module(fresh)), *seen]
    # Nothing of what is fresh is zero, so the first channel that is not zero is the first that was there.
    before = int((pairs[0][1] != 0).flatten(2).any(2).any(0).int().argmax())
    shortcut = PaddedShortcut(before, missing - before, step)
    return shortcut if all(torch.equal(shortcut(arrived), left) for arrived, left in pairs) else None
