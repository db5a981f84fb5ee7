"""``nn.MultiheadAttention``, whose widths are all one: an equal one of ours with widths of its own takes its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeGuard

from torch import nn

from compressor.architectures.attention import SlimAttention
from compressor.equivalence import FLOAT64_LIMIT, Inputs, outputs, relative_difference


def slim_equals(model: nn.Module, inputs: Inputs) -> None:
    """Put ours in the place of torch's wherever the float64 network then gives the same outputs."""
    names = list(_replaceable(model))
    if not names or _replaced(model, names, inputs):
        return
    for name in names:
        _replaced(model, [name], inputs)


def slim_touched(model: nn.Module, names: Iterable[str]) -> None:
    """Put ours in the place of torch's where that or its last layer is among ``names``."""
    touched = {own for name in names for own in (name, name.rpartition(".")[0])}
    for name, module in _replaceable(model).items():
        if name in touched:
            model.set_submodule(name, SlimAttention.equal(module))


def why_kept(module: nn.MultiheadAttention) -> str:
    """What is special about one that `slim_equals` has left."""
    if not module._qkv_same_embed_dim:
        return "with keys or values of another width"
    if module.bias_k is not None or module.add_zero_attn:
        return "with a key of its own (add_bias_kv, add_zero_attn)"
    return "that has several names or is asked for more than its output"


def _replaceable(model: nn.Module) -> dict[str, nn.MultiheadAttention]:
    """Those that ours can stand for and that have one place in the network, by name."""
    used = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    return {name: m for name, m in model.named_modules() if name and used[id(m)] == 1 and _plain(m)}


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
        same = max(relative_difference(one, other) for one, other in pairs) <= FLOAT64_LIMIT
    except Exception:  # whatever foreign code raises that looks into what it calls
        same = False
    if not same:
        for name, module in before.items():
            model.set_submodule(name, module)
    return same
