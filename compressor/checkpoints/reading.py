"""Read tensors from a checkpoint of any origin without running anything that it says."""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from safetensors import safe_open
from torch import Tensor

from compressor.checkpoints.metadata import FORMAT
from compressor.checkpoints.pickles import Skipped, needs_code, read_pickled
from compressor.errors import CheckpointError, CompressorWarning, UsageError
from compressor.foreign import parsing
from compressor.limits import check_memory

# The usual names under which trainers nest a state dict, in the order in which they are tried.
NESTINGS = (
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "network",
    "state_dict_ema",
    "model_ema",
    "weights",
    "params",
)
LISTED = 3
# Values that are looked through for what was skipped, and for tensors to propose, and how deep.
LOOKED_AT = 100_000
DEPTH = 8

State = dict[str, Tensor]


def read(path: Path, state_key: str | None = None) -> tuple[State, Mapping[str, Any] | None]:
    """The state dict in ``path``, and the header when the file is ours; ``state_key`` says where the tensors lie.

    `CheckpointError` on a file that is missing, empty, truncated, too large, would run code, or holds no tensors. What
    is left out of it because only its own code could read it is told by a `CompressorWarning`.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; a checkpoint file is needed")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path} is empty; a checkpoint file is needed")
    if path.suffix == ".safetensors":
        tensors, known = _read_safetensors(path)
        return (tensors, known) if known is not None else (_unnested(tensors, path, state_key), None)
    content, skipped = read_pickled(path)
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        header, state = content.get("header"), content.get("state")
        if not isinstance(header, Mapping) or not _is_state(state) or skipped:
            raise CheckpointError(f"{path} is damaged: its header or its tensors are missing")
        return _bounded(dict(state), path), header
    if skipped and not any(_states(content)):
        raise needs_code(path, skipped[0])
    state = _unnested(content, path, state_key)
    if places := _skipped(content):
        warnings.warn(f"{path}: skipped {_few(places)}: only the tensors are read", CompressorWarning, stacklevel=3)
    return state, None


def _read_safetensors(path: Path) -> tuple[State, Mapping[str, Any] | None]:
    with parsing(f"{path} is not a complete safetensors file: it"), safe_open(path, framework="pt") as file:
        # Each tensor has bytes of its own there: they are as many as the file's.
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        header = (file.metadata() or {}).get(FORMAT)
    if header is None:
        return state, None
    try:
        plain = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is not JSON") from error
    if not isinstance(plain, Mapping):
        raise CheckpointError(f"{path} is damaged: its header is not a JSON object")
    return state, plain


def _is_state(content: Any) -> TypeGuard[Mapping[str, Tensor]]:
    return isinstance(content, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )


def _unnested(content: Any, path: Path, state_key: str | None) -> State:
    """The dictionary of tensors at ``state_key``, else the first at the top or under one of the usual names."""
    if state_key is not None:
        found = _at(content, state_key)
        if not isinstance(found, Mapping) or not (state := _named_tensors(found)):
            raise UsageError(f"--state-key {state_key}: {path} has no tensors there{_proposal(content)}")
        return _bounded(state, path)
    if isinstance(content, Mapping):
        for candidate in (content, *(content[name] for name in NESTINGS if name in content)):
            if isinstance(candidate, Mapping):
                state = _named_tensors(candidate)
                if state and len(state) == len(candidate):
                    return _bounded(state, path)
    raise CheckpointError(
        f"{path} holds no state dict: neither the file nor {', '.join(NESTINGS)} in it maps names to tensors"
        f"{_proposal(content)}"
    )


def _named_tensors(content: Mapping[Any, Any]) -> State:
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _bounded(state: State, path: Path) -> State:
    """``state``, whose tensors may claim more entries than they store: `CheckpointError` beyond the limit."""
    claimed = sum(value.numel() * value.element_size() for value in state.values() if not value.is_nested)
    check_memory(claimed, f"{path} unpacked", held=path.stat().st_size, kind=CheckpointError)
    return state


def _at(content: Any, key: str) -> Any:
    """What lies at a dotted path of names, which may have dots themselves; None when nothing does."""
    if not isinstance(content, Mapping):
        return None
    if key in content:
        return content[key]
    heads = (key[:place] for place, letter in enumerate(key) if letter == ".")
    inside = (_at(content[head], key[len(head) + 1 :]) for head in heads if head in content)
    return next((found for found in inside if found is not None), None)


def _states(content: Any) -> Iterator[str]:
    """Where dictionaries of tensors lie, as dotted paths."""
    for path, value in _walk(content):
        if isinstance(value, Mapping) and value and _is_state(value):
            yield ".".join(path)


def _proposal(content: Any) -> str:
    places = [place for place in _states(content) if place]
    return f"; pass --state-key with one of {_few(places)}" if places else ""


def _skipped(content: Mapping[Any, Any]) -> list[str]:
    """The top-level names of what was left out, each with its class."""
    places: dict[str, str] = {}
    for path, value in _walk(content):
        kind = value if isinstance(value, type) else type(value)
        if issubclass(kind, Skipped):
            places.setdefault(path[0] if path else "", kind.__name__)
    return [f"{name} ({kind})" for name, kind in places.items()]


def _walk(content: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value inside mappings and lists with its path; a container only once, and not without end."""
    waiting: deque[tuple[tuple[str, ...], Any]] = deque([((), content)])
    seen = set[int]()
    for _ in range(LOOKED_AT):
        if not waiting:
            return
        path, value = waiting.popleft()
        yield path, value
        if isinstance(value, Mapping | list | tuple) and id(value) not in seen and len(path) < DEPTH:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [((*path, str(key)), inside) for key, inside in items if not isinstance(inside, Tensor)]


def _few(names: list[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
