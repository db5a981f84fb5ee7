"""Does a state dict fit a network, perhaps without a prefix? What does not, or a proposal of what would fit."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.architectures import ARCHITECTURES
from compressor.computed_weights import FOLDED, fold_weights, tell
from compressor.errors import CheckpointError, CompressorWarning
from compressor.sources import Architecture

State = dict[str, Tensor]

# What wrappers put before every key: DataParallel, DDP, torch.compile; Lightning's and other trainers' own modules.
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
# Names that are shown of many that do not fit.
LISTED = 3


def mismatches(model: nn.Module, state: State) -> list[str]:
    """What is missing, unexpected and wrongly shaped, in words; empty when all fit."""
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(state) - _counters(wanted))
    unexpected = sorted(set(state) - set(wanted))
    common = sorted(set(wanted) & set(state))
    unfit = [key for key in common if not _is_copied(state[key], wanted[key])]
    wrong = [
        f"{key} is {_size(state[key])} instead of {_size(wanted[key])}"
        for key in common
        if _is_dense(state[key]) and state[key].shape != wanted[key].shape
    ]
    lists = {
        "missing": missing,
        "unexpected": unexpected,
        "wrong shape": wrong,
        "not dense real numbers": [f"{key} is {_kind(state[key])}" for key in unfit],
    }
    return [f"{what} ({len(keys)}): {few(keys)}" for what, keys in lists.items() if keys]


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more:,} more" if more > 0 else "")


def fill(model: nn.Module, state: State, path: Path, architecture: str, *, ours: bool) -> None:
    """Copy ``state`` into ``model``, without a wrapper's prefix when it fits so.

    `CheckpointError` tells what does not fit, and which weights are not finite; a `CompressorWarning` which tensors
    stand beside those with the prefix, and are left out, and of weights that are computed, which become plain. For a
    file that is not ``ours`` it says what would fit.
    """
    state = _fitting(model, state, path, architecture, ours)
    versioned = OrderedDict(state)
    # Some modules look here for the version of the code that they were written by: what fits is of this one.
    versioned._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    try:
        model.load_state_dict(versioned, strict=False)
    except RuntimeError as error:  # a kind of number that cannot be copied
        raise CheckpointError(f"{path} does not fit {architecture}: {few(str(error).splitlines()[1:])}") from error
    tell(fold_weights(model), FOLDED, 4)
    # Parameters only: a buffer may hold infinities, for example an attention mask.
    broken = [name for name, parameter in model.named_parameters() if not bool(parameter.isfinite().all())]
    if broken:
        raise CheckpointError(f"{path} holds weights that are not finite numbers ({few(broken)})")


def _fitting(model: nn.Module, state: State, path: Path, architecture: str, ours: bool) -> State:
    candidates = [state] if ours else list(unprefixed(state))
    problems = [mismatches(model, candidate) for candidate in candidates]
    for candidate, found in zip(candidates, problems, strict=True):
        if not found:
            return candidate
    for prefix in () if ours else PREFIXES:
        inside = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if inside and not mismatches(model, inside):
            others = few([key for key in state if not key.startswith(prefix)])
            warnings.warn(f"{path}: left out what is not under {prefix}: {others}", CompressorWarning, stacklevel=4)
            return inside
    told = "; ".join(problems[-1])
    hint = "" if ours else _hint(model, candidates[-1])
    raise CheckpointError(f"{path} does not fit {architecture}: {told}{hint}")


def unprefixed(state: State) -> Iterator[State]:
    """``state``, and as long as all of its keys begin with the same prefix of a wrapper, it without that."""
    yield state
    for prefix in PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            yield from unprefixed({key.removeprefix(prefix): value for key, value in state.items()})
            return


def _hint(model: nn.Module, state: State) -> str:
    """What to try where hardly anything fits."""
    if guess := propose(state):
        return f"; its tensors fit {option(guess)}"
    if not set(state) & set(model.state_dict()):
        return "; no name is the same, so --arch names another network, or --state-key other tensors"
    return ""


def propose(state: State) -> Architecture | None:
    """A built-in architecture whose keys and shapes ``state`` fits, if there is one."""
    *_, state = unprefixed(state)
    matrices = [tensor for tensor in state.values() if _is_dense(tensor) and tensor.ndim >= 2 and tensor.numel()]
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


def _counters(state: State) -> set[str]:
    """Batch counters of BatchNorm, which old checkpoints lack and evaluation never reads."""
    return {key for key in state if key.endswith("num_batches_tracked")}


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not (tensor.is_meta or tensor.is_nested or tensor.is_quantized)


def _is_copied(stored: Tensor, wanted: Tensor) -> bool:
    """Whether copying keeps the meaning: not from quantised integers, sparse, complex or data-less tensors."""
    return _is_dense(stored) and (stored.is_floating_point() or not (stored.is_complex() or wanted.is_floating_point()))


def _kind(tensor: Tensor) -> str:
    layout = "" if tensor.layout is torch.strided else tensor.layout
    kinds = (tensor.dtype, layout, "meta" if tensor.is_meta else "", "nested" if tensor.is_nested else "")
    return " ".join(str(kind).removeprefix("torch.") for kind in kinds if kind)


def _size(tensor: Tensor) -> str:
    return "x".join(str(size) for size in tensor.shape) or "a scalar"
