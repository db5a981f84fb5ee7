"""Read tensors from a checkpoint of any origin without running anything that it says."""

from __future__ import annotations

import errno
import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compressor.checkpoints.metadata import FORMAT
from compressor.errors import CheckpointError, first_line

# The usual names under which trainers nest a state dict, in the order in which they are tried.
NESTINGS = ("state_dict", "model", "model_state_dict", "model_ema")
# What wrappers (DataParallel, DDP, torch.compile) put before every key.
PREFIXES = ("module.", "_orig_mod.")

State = dict[str, Tensor]


def read(path: Path) -> tuple[State, Mapping[str, Any] | None]:
    """The state dict in ``path``, and the header when the file is ours.

    `CheckpointError` on a file that is missing, empty, truncated, would run code, or holds no tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; a checkpoint file is needed")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; a checkpoint file is needed")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = _read_torch(path)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        header, state = content.get("header"), content.get("state")
        if not isinstance(header, Mapping) or not _is_state(state):
            raise CheckpointError(f"{path} is damaged: its header or its tensors are missing")
        return dict(state), header
    return _unprefixed(_unnested(content, path)), None


def _read_safetensors(path: Path) -> tuple[State, Mapping[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            header = (file.metadata() or {}).get(FORMAT)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a complete safetensors file: {first_line(error)}") from error
    if header is None:
        return _unprefixed(_unnested(state, path)), None
    try:
        plain = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is not JSON") from error
    if not isinstance(plain, Mapping):
        raise CheckpointError(f"{path} is damaged: its header is not a JSON object")
    return state, plain


def _read_torch(path: Path) -> Any:
    try:
        # What torch warns of here (an unusual pickle protocol) it also refuses, or reads well.
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds on damaged files
        # It seeks before the beginning of a file that was cut short, which is an invalid argument.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or first_line(error)}") from error
        named = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if named is None:
            # torch's own words here are internal, or advise to load without the safeguard.
            raise CheckpointError(
                f"{path} is not a complete PyTorch checkpoint: it is cut short, damaged or a file of another kind"
            ) from error
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors, and loading it would run code it names "
            f"({named[1].rstrip('.')}); save the tensors alone, with torch.save(model.state_dict(), ...)"
        ) from error


def _is_state(content: Any) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(content, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )


def _unnested(content: Any, path: Path) -> State:
    """The first dictionary of tensors, at the top or under one of the usual names."""
    if isinstance(content, Mapping):
        for candidate in (content, *(content[name] for name in NESTINGS if name in content)):
            if isinstance(candidate, Mapping):
                state = {str(key): value for key, value in candidate.items() if isinstance(value, Tensor)}
                if state and len(state) == len(candidate):
                    return state
    raise CheckpointError(
        f"{path} holds no state dict: neither the file nor {', '.join(NESTINGS)} in it maps names to tensors"
    )


def _unprefixed(state: State) -> State:
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            return _unprefixed({key.removeprefix(prefix): value for key, value in state.items()})
    return state
