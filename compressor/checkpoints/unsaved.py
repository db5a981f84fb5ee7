"""Buffers that a network's state leaves out (``persistent=False``), where they have another size than at first.

Code often computes such a buffer anew only when its size does not fit, so one of the right size must hold the right
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from compressor.checkpoints.structure import Edit
from compressor.errors import CheckpointError


def unsaved(model: nn.Module, edits: Sequence[Edit]) -> dict[str, Tensor]:
    """Those of ``model``, which has been edited so, by name."""
    return {name: model.get_buffer(name) for name in _names(model, edits)}


@torch.no_grad()
def restore(model: nn.Module, edits: Sequence[Edit], state: dict[str, Tensor], path: Path) -> None:
    """Take them out of ``state`` and into ``model``, which has been edited so; `CheckpointError` when one lacks."""
    for name in _names(model, edits):
        value, buffer = state.pop(name, None), model.get_buffer(name)
        if value is None or value.shape != buffer.shape:
            raise CheckpointError(
                f"{path} lacks {name} of {'x'.join(map(str, buffer.shape))}, which its architecture makes in another "
                "size; save the network again with this version"
            )
        buffer.copy_(value)


def _names(model: nn.Module, edits: Sequence[Edit]) -> Iterator[str]:
    for edit in edits:
        for name in edit.tensors.keys() & model.get_submodule(edit.module)._non_persistent_buffers_set:
            yield f"{edit.module}.{name}".lstrip(".")
