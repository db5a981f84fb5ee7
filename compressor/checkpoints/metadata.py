"""What a checkpoint knows beside its tensors: plain data, versioned."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from compressor import __version__
from compressor.checkpoints.structure import Edit
from compressor.data.normalization import Normalization
from compressor.errors import CheckpointError
from compressor.sources import Architecture

FORMAT = "compressor.checkpoint"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which samples a network was trained on, and how they were split."""

    ref: str
    split_seed: int = 0
    val_fraction: float = 0.1
    max_train: int | None = None


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything needed to rebuild, feed and judge a network."""

    architecture: Architecture
    input_shape: tuple[int, ...]
    normalization: Normalization | None = None
    classes: tuple[str, ...] | None = None
    data: DataChoice | None = None
    history: tuple[Mapping[str, Any], ...] = ()

    def with_stage(self, stage: str, **figures: Any) -> Metadata:
        """The same with one more stage in its history."""
        return replace(self, history=(*self.history, {"stage": stage, **figures}))

    def to_plain(self, edits: tuple[Edit, ...]) -> dict[str, Any]:
        """The header as JSON-ready data."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "architecture": {"ref": self.architecture.ref, "args": dict(self.architecture.args)},
            "edits": [edit.to_plain() for edit in edits],
            "input_shape": list(self.input_shape),
            "normalization": self.normalization.to_plain() if self.normalization else None,
            "classes": list(self.classes) if self.classes is not None else None,
            "data": vars(self.data) if self.data else None,
            "history": [dict(stage) for stage in self.history],
            "tools": {
                "compressor": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
        }
        try:
            # A round trip now finds what could not be read back later.
            return json.loads(json.dumps(header, allow_nan=False))  # type: ignore[no-any-return]
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"the checkpoint's header must be plain data: {error}") from error


def from_plain(header: Mapping[str, Any]) -> tuple[Metadata, tuple[Edit, ...]]:
    """Read a header back; `CheckpointError` on a newer version or damaged fields."""
    version = header.get("version")
    if version != VERSION:
        raise CheckpointError(
            f"its header has version {version!r}, this compressor {__version__} reads version {VERSION}"
        )
    try:
        architecture = header["architecture"]
        data = header["data"]
        normalization = header["normalization"]
        classes = header["classes"]
        metadata = Metadata(
            architecture=Architecture(str(architecture["ref"]), dict(architecture["args"])),
            input_shape=tuple(int(size) for size in header["input_shape"]),
            normalization=Normalization.from_plain(normalization) if normalization else None,
            classes=tuple(str(name) for name in classes) if classes is not None else None,
            data=DataChoice(**data) if data else None,
            history=tuple(dict(stage) for stage in header["history"]),
        )
        return metadata, tuple(Edit.from_plain(edit) for edit in header["edits"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"its header is damaged: {type(error).__name__} {error}") from error
