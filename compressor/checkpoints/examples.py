"""Examples of what a network is called with, as files hold them: tensors in plain containers, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compressor.checkpoints.fields import field
from compressor.checkpoints.pickles import read_pickled
from compressor.data.npz import read_arrays
from compressor.errors import CheckpointError, UsageError
from compressor.limits import check_memory
from compressor.structures import tensors

# Before the names of the tensors of examples, which a file holds beside those of the network.
PREFIX = "compressor.example."
# No call of a network has more parts, nor deeper ones.
PARTS, DEPTH = 10_000, 16
SUFFIXES = (".npz", ".pt")
# As numpy names arrays that were given none.
UNNAMED = re.compile(r"arr_\d{1,4}", re.ASCII)


def read_example(path: Path) -> Any:
    """The example in a file: the arrays of an .npz by name, or what ``torch.save`` wrote of tensors in containers.

    Arrays without names are positional arguments. `UsageError` for another ending, `CheckpointError` for a file that
    cannot be read without running code, holds anything else, or unpacks to more than is allowed.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--example {path} must end in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise UsageError(f"--example {path} is {'a folder' if path.is_dir() else 'missing'}; an example is needed")
    example = _of_arrays(path) if path.suffix == ".npz" else _of_pickle(path)
    if not any(True for _ in tensors(example)):
        raise CheckpointError(f"{path} holds no tensor, so it is no example of what a network is called with")
    return example


def _of_arrays(path: Path) -> Any:
    arrays = {name: _tensor(path, name, array) for name, array in read_arrays(path).items()}
    if not all(map(UNNAMED.fullmatch, arrays)):
        return arrays
    return tuple(arrays.values()) if len(arrays) != 1 else next(iter(arrays.values()))


def _tensor(path: Path, name: str, array: Any) -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
    except TypeError as error:  # a kind of number, or text, that torch has not
        raise CheckpointError(f"{path}: the array {name!r:.40} is of {array.dtype}, which is no tensor") from error


def _of_pickle(path: Path) -> Any:
    content, skipped = read_pickled(path)
    if skipped:
        raise CheckpointError(f"{path} holds {skipped[0]}; an example may hold tensors, containers and numbers only")
    packed: dict[str, Tensor] = {}
    try:
        unpacked = unpack(pack(content, packed), packed)
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{path} is no example: {error}") from error
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in packed.values())
    check_memory(claimed, f"{path} unpacked", held=path.stat().st_size, kind=CheckpointError)
    return unpacked


def pack(value: Any, into: dict[str, Tensor], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """``value`` as plain data that names the tensors which it puts ``into`` a dictionary; `CheckpointError` for others.

    Only tensors, lists, tuples, dicts with names, None, numbers and text can be kept as data.
    """
    if len(path) > DEPTH or len(into) > PARTS:
        raise CheckpointError("an example may not have so many parts")
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.is_meta or value.is_nested or value.is_quantized:
            raise CheckpointError(f"a tensor of an example must be dense, got {value.layout} of {value.dtype}")
        name = PREFIX + ".".join(path)
        into[name] = value.detach().cpu()
        return {"tensor": name}
    if value is None or type(value) in {bool, int, float, str}:
        return {"value": value}
    if type(value) in {list, tuple}:
        return {type(value).__name__: [pack(part, into, (*path, str(n))) for n, part in enumerate(value)]}
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {"dict": {name: pack(part, into, (*path, name)) for name, part in value.items()}}
    raise CheckpointError(
        f"a checkpoint keeps examples of tensors in lists, tuples and dicts, got a {type(value).__name__:.60}"
    )


def unpack(plain: Any, held: Mapping[str, Tensor], depth: int = 0) -> Any:
    """What `pack` made plain data of; ValueError where it is none."""
    if not isinstance(plain, Mapping) or len(plain) != 1 or depth > DEPTH + 1:
        raise ValueError("an example is damaged")
    (kind,) = plain
    if kind == "tensor":
        name = field(plain, "tensor", str)
        if name not in held:
            raise ValueError(f"the tensor {name:.60} of an example is missing")
        return held[name]
    if kind == "value":
        if not isinstance(plain["value"], bool | int | float | str | None):
            raise ValueError("a value of an example is no number")
        return plain["value"]
    if kind == "dict":
        return {str(name): unpack(part, held, depth + 1) for name, part in field(plain, "dict", Mapping).items()}
    if kind in {"list", "tuple"}:
        parts = [unpack(part, held, depth + 1) for part in field(plain, kind, list)]
        return parts if kind == "list" else tuple(parts)
    raise ValueError(f"an example may not hold {kind!r:.40}")
