"""The state of a splitting in a file beside the checkpoint of a trainer whose own files cannot hold it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from compressor.errors import CheckpointError
from compressor.files import write_bytes
from compressor.foreign import parsing
from compressor.regular_files import read_bytes


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write ``state``, plain data and tensors, to ``path``, whole or not at all."""
    content = io.BytesIO()
    torch.save(dict(state), content)
    write_bytes(path, content.getvalue())


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote; `CheckpointError` when it is missing or something else."""
    if not path.exists():
        raise CheckpointError(
            f"the training goes on from a checkpoint, and {path} is missing, where the state of the splitting was kept "
            "beside it; begin anew, or put the file back"
        )
    content = read_bytes(path, kind=CheckpointError)
    with parsing(path, CheckpointError):
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} cannot be read: it is no state of a splitting")
    return state
