"""Does a state dict fit a network? All mismatches at once, or a proposal of what would fit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.architectures import ARCHITECTURES
from compressor.errors import CheckpointError
from compressor.sources import Architecture


def mismatches(model: nn.Module, state: dict[str, Tensor]) -> list[str]:
    """Every missing, unexpected and wrongly shaped tensor, in words; empty when all fit."""
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(state) - _counters(wanted))
    unexpected = sorted(set(state) - set(wanted))
    common = sorted(set(wanted) & set(state))
    wrong = [
        f"{key} is {_size(state[key])} instead of {_size(wanted[key])}"
        for key in common
        if state[key].shape != wanted[key].shape
    ]
    unfit = [f"{key} is {_kind(state[key])}" for key in common if not _is_copied(state[key], wanted[key])]
    lists = {"missing": missing, "unexpected": unexpected, "wrong shape": wrong, "not dense real numbers": unfit}
    return [f"{what} ({len(keys)}): {', '.join(keys)}" for what, keys in lists.items() if keys]


def fill(model: nn.Module, state: dict[str, Tensor], path: Path, architecture: str) -> None:
    """Copy ``state`` into ``model``; `CheckpointError` lists every mismatch, and every weight that is not finite."""
    problems = mismatches(model, state)
    if problems:
        raise CheckpointError(f"{path} does not fit {architecture}: {'; '.join(problems)}")
    versioned = OrderedDict(state)
    # Some modules look here for the version of the code that they were written by: what fits is of this one.
    versioned._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(versioned, strict=False)
    # Parameters only: a buffer may hold infinities, for example an attention mask.
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if broken:
        raise CheckpointError(f"{path} holds weights that are not finite numbers ({', '.join(broken)})")


def propose(state: dict[str, Tensor]) -> Architecture | None:
    """A built-in architecture whose keys and shapes ``state`` fits, if there is one."""
    matrices = [tensor for tensor in state.values() if tensor.ndim >= 2 and tensor.numel()]
    if not matrices:
        return None
    # First layer and classifier tell the two arguments that every built-in factory takes.
    guessed = {"num_classes": matrices[-1].shape[0], "in_channels": matrices[0].shape[1]}
    for name in sorted(ARCHITECTURES):
        for args in ({}, guessed):
            candidate = Architecture(name, args)
            with torch.device("meta"):
                model = candidate.build()
            if not mismatches(model, state):
                return candidate
    return None


def option(architecture: Architecture) -> str:
    """The command-line options that name ``architecture``."""
    args = (f" --arch-arg {key}={value}" for key, value in architecture.args.items())
    return f"--arch {architecture.ref}{''.join(args)}"


def _counters(state: dict[str, Tensor]) -> set[str]:
    """Batch counters of BatchNorm, which old checkpoints lack and evaluation never reads."""
    return {key for key in state if key.endswith("num_batches_tracked")}


def _is_copied(stored: Tensor, wanted: Tensor) -> bool:
    """Whether copying keeps the meaning: not from quantised integers, sparse, complex or data-less tensors."""
    dense = stored.layout is torch.strided and not stored.is_meta
    return dense and (stored.is_floating_point() or not wanted.is_floating_point())


def _kind(tensor: Tensor) -> str:
    kinds = (tensor.dtype, "" if tensor.layout is torch.strided else tensor.layout, "meta" if tensor.is_meta else "")
    return " ".join(str(kind).removeprefix("torch.") for kind in kinds if kind)


def _size(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "a scalar"
