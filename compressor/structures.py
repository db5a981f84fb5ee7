"""Any structure of tensors: lists, tuples, dicts, dataclasses, and what torch was told how to take apart."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import SUPPORTED_NODES

# Keys, places and fields that lead to a tensor.
Path = tuple[str | int, ...]


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value``, of any structure, with every tensor changed; what is no tensor stays as it is."""
    if isinstance(value, Tensor):
        return change(value)
    inner = {key: mapped(part, change) for key, part in parts(value)}
    if not inner or all(inner[key] is part for key, part in parts(value)):
        return value
    if isinstance(value, Mapping):
        made: Any = {} if type(value) is dict else copy.copy(value)
        made.update(inner)
        return made
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(inner.values())
    if isinstance(value, list | tuple):
        return type(value)(inner.values())
    if dataclasses.is_dataclass(value):
        made = copy.copy(value)
        for name, part in inner.items():
            object.__setattr__(made, str(name), part)
        return made
    node = SUPPORTED_NODES[type(value)]
    return node.unflatten_fn([*inner.values()], node.flatten_fn(value)[1])


def tensors(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor in ``value``, of any structure, with the keys and places that lead to it."""
    if isinstance(value, Tensor):
        yield path, value
    for key, part in parts(value):
        yield from tensors(part, (*path, key))


def parts(value: Any) -> list[tuple[str | int, Any]]:
    """What a container holds, with key, place or field; nothing for anything else."""
    if isinstance(value, Mapping):
        return [*value.items()]
    if isinstance(value, list | tuple):
        return [*zip(getattr(value, "_fields", range(len(value))), value, strict=True)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    node = SUPPORTED_NODES.get(type(value))
    return [*enumerate(node.flatten_fn(value)[0])] if node is not None else []


def containers(value: Any) -> Iterator[Any]:
    """``value`` and everything in it that holds something."""
    if held := parts(value):
        yield value
    for _, part in held:
        yield from containers(part)
