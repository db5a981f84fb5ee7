"""Wrappers around networks: the network inside is what has channels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from compressor.shards import mesh_group

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

DISTRIBUTED = (nn.parallel.DistributedDataParallel, nn.DataParallel)


def unwrapped(model: nn.Module) -> tuple[nn.Module, str]:
    """The network inside all wrappers, and what stands before the names of its modules in ``model``.

    Compiled and distributed models are wrappers.
    """
    *_, (inner, prefix) = _opened(model)
    return inner, prefix


def process_group(model: nn.Module) -> ProcessGroup | None:
    """The processes that a wrapper of DDP keeps equal, or that hold the shards of FSDP; None without either."""
    distributed = nn.parallel.DistributedDataParallel
    wrapped = (one.process_group for one, _ in _opened(model) if isinstance(one, distributed))
    return next(wrapped, None) or mesh_group(model)


def _opened(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """``model`` and what is inside of each wrapper, with its prefix."""
    inner: object = model
    prefix = ""
    while isinstance(inner, nn.Module):
        yield inner, prefix
        name = "module" if isinstance(inner, DISTRIBUTED) else "_orig_mod"
        inner, prefix = getattr(inner, name, None), f"{prefix}{name}."


def eagerly() -> AbstractContextManager[None]:
    """Inside it, what is compiled in a network runs as it is written, so that hooks see every module."""
    # Nothing is compiled before torch's compiler is there, which takes a second to import.
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return stance
