"""Why the structure of a network keeps a group whole, whatever happens to its channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import nn

from compressor.channels import VANISHING, Member
from compressor.layer_kinds import CONVOLUTIONS
from compressor.surgery.replacements import why_kept


def opaque(model: nn.Module, members: Sequence[Member]) -> str | None:
    """Layers of torch whose widths are bound to others."""
    for member in members:
        module = model.get_submodule(member.module)
        if isinstance(module, nn.MultiheadAttention):
            return f"{member.module} is an nn.MultiheadAttention {why_kept(module)}"
        if isinstance(module, nn.LSTM) and module.proj_size and member.role == "producer":
            return f"{member.module} is an nn.LSTM with projections, which torch tells from others by its widths"
    return None


def together(model: nn.Module, members: Sequence[Member]) -> str | None:
    """What keeps all channels together, where groups of them do."""
    for member in members:
        module: Any = model.get_submodule(member.module)
        what = None
        if isinstance(module, nn.GroupNorm) and module.num_groups > 1:
            what = f"normalises {module.num_channels} channels in {module.num_groups} groups"
        elif isinstance(module, CONVOLUTIONS) and module.groups > 1:
            what = f"reads {module.in_channels} channels in {module.groups} groups"
        if what is not None:
            return f"all of it hangs together as a single channel, since {member.module} {what}"
    return None


def problem(frozen: Collection[str], members: Sequence[Member], made: Sequence[str], *, multiplied: bool) -> str | None:
    """A member that is ``frozen``, or that no layer makes or reads."""
    for member in members:
        held = [name for name, _ in member.tensors if f"{member.module}.{name}".lstrip(".") in frozen]
        if member.role in VANISHING and held:
            return f"{member.module} is frozen (requires_grad is off)"
    if not made:
        parts = [".".join(filter(None, (m.module, m.tensors[0][0]))) for m in members if m.tensors]
        return f"no convolution, linear or recurrent layer and no embedding makes it, only {parts[0]} holds it"
    if not multiplied and not any(member.role == "consumer" for member in members):
        readers = [member.module for member in members if member.role == "reader"]
        only = f", only {readers[0]}" if readers else ""
        return f"no convolution, linear or recurrent layer reads it{only}"
    return None
