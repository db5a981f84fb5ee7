"""Wrappers around networks: the network inside is what has channels."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

DISTRIBUTED = (nn.parallel.DistributedDataParallel, nn.DataParallel)


def unwrapped(model: nn.Module) -> tuple[nn.Module, str]:
    """The network inside all wrappers, and what stands before the names of its modules in ``model``.

    Compiled and distributed models are wrappers.
    """
    prefix = ""
    while True:
        if isinstance(model, DISTRIBUTED):
            model, prefix = model.module, f"{prefix}module."
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model, prefix = inner, f"{prefix}_orig_mod."
        else:
            return model, prefix


def eagerly() -> AbstractContextManager[None]:
    """Inside it, what is compiled in a network runs as it is written, so that hooks see every module."""
    # Nothing is compiled before torch's compiler is there, which takes a second to import.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance
