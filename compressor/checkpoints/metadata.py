"""What a checkpoint knows beside its tensors: plain data, versioned."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from compressor import __version__
from compressor.checkpoints.examples import pack, unpack
from compressor.checkpoints.fields import field, named, sizes, texts
from compressor.checkpoints.structure import Edit
from compressor.codec import encode
from compressor.data.normalization import Normalization
from compressor.data.reader import RESIZE
from compressor.errors import CheckpointError, first_line
from compressor.sources import Architecture
from compressor.structures import tensors

FORMAT = "compressor.checkpoint"
VERSION = 1
# Of one sample; none that a network reads has more.
DIMENSIONS = 8
LONGEST_REF = 1000


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which samples a network was trained on, and how they were split."""

    ref: str
    split_seed: int = 0
    val_fraction: float = 0.1

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any] | None) -> DataChoice | None:
        """Read what ``vars`` gave, or None; ValueError for anything else."""
        if plain is None:
            return None
        return cls(
            ref=field(plain, "ref", str),
            split_seed=field(plain, "split_seed", int),
            val_fraction=field(plain, "val_fraction", float, int),
        )


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything needed to rebuild, feed and judge a network."""

    architecture: Architecture
    input_shape: tuple[int, ...]
    normalization: Normalization | None = None
    classes: tuple[str, ...] | None = None
    data: DataChoice | None = None
    # How images of other sizes were brought to `input_shape`: "bilinear", the whole image, antialiased.
    resize: str | None = None
    # What the network is called with where that is not one tensor of `input_shape`, and which of its outputs count.
    examples: tuple[Any, ...] = ()
    outputs: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()

    def with_stage(self, stage: str, **figures: Any) -> Metadata:
        """The same with one more stage in its history."""
        return replace(self, history=(*self.history, {"stage": stage, **figures}))

    def example_tensors(self) -> dict[str, Tensor]:
        """The tensors of the examples, as a file keeps them beside the network's."""
        held: dict[str, Tensor] = {}
        pack(list(self.examples), held)
        return held

    def to_plain(self, edits: tuple[Edit, ...]) -> dict[str, Any]:
        """The header as JSON-ready data; its examples name `example_tensors`."""
        fed = {"examples": pack(list(self.examples), {})} if self.examples else {}
        counted = {"outputs": list(self.outputs)} if self.outputs else {}
        header = {
            "format": FORMAT,
            "version": VERSION,
            "architecture": {"ref": self.architecture.ref, "args": dict(self.architecture.args)},
            "edits": [edit.to_plain() for edit in edits],
            "input_shape": list(self.input_shape),
            **fed,
            **counted,
            "normalization": self.normalization.to_plain() if self.normalization else None,
            "classes": list(self.classes) if self.classes is not None else None,
            "data": vars(self.data) if self.data else None,
            **({"resize": self.resize} if self.resize else {}),
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


def from_plain(
    header: Mapping[str, Any], held: Mapping[str, Tensor] | None = None
) -> tuple[Metadata, tuple[Edit, ...]]:
    """Read a header back, whose examples are made of the tensors ``held``.

    `CheckpointError` on a newer version or damaged fields.
    """
    version = header.get("version")
    if type(version) is not int or version != VERSION:
        raise CheckpointError(
            f"its header has version {version!r:.40}, this compressor {__version__} reads version {VERSION}"
        )
    try:
        architecture = named(header, "architecture")
        normalization = field(header, "normalization", Mapping, NoneType)
        metadata = Metadata(
            architecture=Architecture(_ref(architecture), named(architecture, "args")),
            input_shape=_input_shape(header),
            normalization=None if normalization is None else Normalization.from_plain(normalization),
            classes=None if field(header, "classes", list, NoneType) is None else texts(header, "classes"),
            data=DataChoice.from_plain(field(header, "data", Mapping, NoneType)),
            resize=_resize(header) if "resize" in header else None,
            examples=_examples(header, held or {}) if "examples" in header else (),
            outputs=texts(header, "outputs") if "outputs" in header else (),
            history=tuple(named({"history": stage}, "history") for stage in field(header, "history", list)),
        )
        edits = tuple(Edit.from_plain(edit) for edit in field(header, "edits", list))
        _check_plain(header)
        return metadata, edits
    except (OverflowError, TypeError, ValueError) as error:
        raise CheckpointError(f"its header is damaged: {first_line(error)}") from error


def _check_plain(header: Mapping[str, Any]) -> None:
    """ValueError for what could be neither written again nor printed: bytes, tensors, endless numbers or nesting."""
    try:
        json.dumps(header, allow_nan=False)
        encode(header)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"it holds more than plain data: {first_line(error)}") from error


def _ref(architecture: Mapping[str, Any]) -> str:
    ref: str = field(architecture, "ref", str)
    if len(ref) > LONGEST_REF:
        raise ValueError(f"ref may not have {len(ref):,} letters")
    return ref


def _resize(header: Mapping[str, Any]) -> str:
    resize: str = field(header, "resize", str)
    if resize != RESIZE:
        raise ValueError(f"resize must be {RESIZE!r}, it is {resize!r:.40}")
    return resize


def _examples(header: Mapping[str, Any], held: Mapping[str, Tensor]) -> tuple[Any, ...]:
    calls = unpack(header["examples"], held)
    if not isinstance(calls, list) or not all(any(True for _ in tensors(example)) for example in calls):
        raise ValueError("an example holds no tensor")
    return tuple(calls)


def _input_shape(header: Mapping[str, Any]) -> tuple[int, ...]:
    shape = sizes(header, "input_shape")
    if not shape and "examples" not in header:
        raise ValueError("input_shape may not be empty")
    if len(shape) > DIMENSIONS:
        raise ValueError(f"input_shape may not have {len(shape):,} dimensions")
    return shape
