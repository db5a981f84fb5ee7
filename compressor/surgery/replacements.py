"""Modules of ours that take the place of others whose widths are bound to numbers in their code.

A shortcut that pads channels becomes a `PaddedShortcut`, ``nn.MultiheadAttention`` a `SlimAttention`, attention that
reads its widths off what comes in a `SlimRelativeAttention` or `SlimWindowAttention`, a norm over channels a
`SlimNorm`, each only where it gives the same outputs on sampled inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from compressor.architectures.attention import SlimAttention
from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.equivalence import Inputs, eval_mode, outputs, relative_difference
from compressor.hooks import hooked
from compressor.inputs import Examples
from compressor.precision import limit_of
from compressor.surgery.fused_attention import slim_attention
from compressor.surgery.norms import slim_norm


@torch.no_grad()
def equal_shortcuts(
    model: nn.Module, inputs: Inputs, names: Collection[str] | None = None
) -> dict[str, PaddedShortcut]:
    """For every module of others that does what a `PaddedShortcut` does, that shortcut; ``names`` limits the search."""
    candidates = {
        name: module for name, module in model.named_modules() if (names is None or name in names) and _may_pad(module)
    }
    if not candidates:
        return {}
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in candidates}
    with hooked(module.register_forward_hook(_watch(seen[name])) for name, module in candidates.items()):
        outputs(model, inputs)
    shortcuts = {name: _equal(module, seen[name]) for name, module in candidates.items()}
    return {name: shortcut for name, shortcut in shortcuts.items() if shortcut is not None}


def _may_pad(module: nn.Module) -> bool:
    """A module of the user's own that holds nothing."""
    written_by_user = not isinstance(module, PaddedShortcut) and not type(module).__module__.startswith("torch.")
    return written_by_user and not [*module.children(), *module.parameters(), *module.buffers()]


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


def slim_equals(model: nn.Module, inputs: Inputs) -> None:
    """Put ours in the place of others' wherever the float64 network then gives the same outputs."""
    names = list(_stand_ins(model))
    if not names or _replaced(model, names, inputs):
        return
    for name in names:
        _replaced(model, [name], inputs)


def slim_touched(model: nn.Module, names: Iterable[str]) -> None:
    """Put ours in the place of others' where those or their last layer are among ``names``."""
    touched = {own for name in names for own in (name, name.rpartition(".")[0])}
    for name, module in _stand_ins(model, touched).items():
        model.set_submodule(name, module)


def why_kept(module: nn.MultiheadAttention) -> str:
    """What is special about one that `slim_equals` has left."""
    if not module._qkv_same_embed_dim:
        return "with keys or values of another width"
    if module.bias_k is not None or module.add_zero_attn:
        return "with a key of its own (add_bias_kv, add_zero_attn)"
    return "that has several names or is asked for more than its output"


def _stand_ins(model: nn.Module, names: Collection[str] | None = None) -> dict[str, nn.Module]:
    """Ours for every module that has one place in the network; ``names`` limits the search."""
    used = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    asked = {n: m for n, m in model.named_modules() if n and used[id(m)] == 1 and (names is None or n in names)}
    found = {name: _stand_in(module) for name, module in asked.items()}
    return {name: module for name, module in found.items() if module is not None}


def _stand_in(module: nn.Module) -> nn.Module | None:
    return SlimAttention.equal(module) if _plain(module) else slim_attention(module) or slim_norm(module)


def _plain(module: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    """Whether ours can do what it does."""
    if type(module) is not nn.MultiheadAttention or not isinstance(module.in_proj_weight, nn.Parameter):
        return False
    return module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn


def _replaced(model: nn.Module, names: list[str], inputs: Inputs) -> bool:
    """Replace all of them, or none if that changes an output."""
    expected = outputs(model, inputs)
    before = {name: model.get_submodule(name) for name in names}
    slim_touched(model, names)
    try:
        pairs = zip(expected, outputs(model, inputs), strict=True)
        same = max(relative_difference(one, other) for one, other in pairs) <= limit_of(Examples.of(inputs).precision)
    except Exception:  # whatever the network's code raises that looks into what it calls
        same = False
    if not same:
        for name, module in before.items():
            model.set_submodule(name, module)
    return same
