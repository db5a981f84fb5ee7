"""Read tensors from anybody's checkpoint without running anything that it says."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from compressor.checkpoints.metadata import FORMAT
from compressor.errors import CheckpointError

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
        if not isinstance(header, Mapping) or not isinstance(state, Mapping):
            raise CheckpointError(f"{path} is damaged: its header or its tensors are missing")
        return dict(state), header
    return _unprefixed(_unnested(content, path)), None


def _read_safetensors(path: Path) -> tuple[State, Mapping[str, Any] | None]:
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            header = (file.metadata() or {}).get(FORMAT)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is no complete safetensors file: {_first_line(error)}") from error
    if header is None:
        return _unprefixed(_unnested(state, path)), None
    try:
        return state, json.loads(header)
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: its header is no JSON") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise CheckpointError(f"{path} is no PyTorch checkpoint: {_first_line(error)}") from error
        raise CheckpointError(
            f"{path} is refused: it holds more than tensors, and loading it would run code it names "
            f"({found[1].rstrip('.')}); save the tensors alone, with torch.save(model.state_dict(), ...)"
        ) from error
    except Exception as error:  # torch raises many kinds on damaged files
        raise CheckpointError(f"{path} is no complete PyTorch checkpoint: {_first_line(error)}") from error


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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
