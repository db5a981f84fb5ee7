"""How a shrunk network differs from its architecture, as data, and how to make it again.

A difference is a list of edits, each the new sizes of one module: no tracing, no pickle and no
pruning library is needed to replay it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from compressor.errors import CheckpointError

# The only attributes that an edit may set: plain sizes. A file must not reach any other attribute.
SIZES = (
    "groups",
    "in_channels",
    "in_features",
    "normalized_shape",
    "num_channels",
    "num_features",
    "out_channels",
    "out_features",
)


@dataclass(frozen=True)
class Edit:
    """New sizes of one module: attributes, and the shapes of its own parameters and buffers."""

    module: str
    sizes: Mapping[str, int | tuple[int, ...]]
    tensors: Mapping[str, tuple[int, ...]]

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        sizes = {name: list(size) if isinstance(size, tuple) else size for name, size in self.sizes.items()}
        return {
            "edit": "resize",
            "module": self.module,
            "sizes": sizes,
            "tensors": {name: list(shape) for name, shape in self.tensors.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Edit:
        """Read it back; ValueError on an unknown kind of edit or an attribute that is no size."""
        if plain["edit"] != "resize":
            raise ValueError(f"unknown edit {plain['edit']!r}")
        foreign = sorted(set(plain["sizes"]) - set(SIZES))
        if foreign:
            raise ValueError(f"an edit may not set {', '.join(foreign)}")
        sizes = {
            name: tuple(int(s) for s in size) if isinstance(size, list | tuple) else int(size)
            for name, size in plain["sizes"].items()
        }
        tensors = {str(name): tuple(int(s) for s in shape) for name, shape in plain["tensors"].items()}
        return cls(str(plain["module"]), sizes, tensors)


def difference(dense: nn.Module, small: nn.Module) -> tuple[Edit, ...]:
    """The edits that turn ``dense`` into the shape of ``small``; `CheckpointError` when sizes cannot say it."""
    originals, edits = dict(dense.named_modules()), []
    for name, module in small.named_modules():
        original = originals.pop(name, None)
        if original is None or type(original) is not type(module):
            raise CheckpointError(f"module {name!r} is not the architecture's; only sizes may differ")
        sizes, shapes = _sizes(module), _shapes(module)
        if set(shapes) != set(_shapes(original)):
            raise CheckpointError(f"module {name!r} gained or lost a tensor; only sizes may differ")
        if sizes != _sizes(original) or shapes != _shapes(original):
            edits.append(Edit(name, sizes, shapes))
    if originals:
        raise CheckpointError(f"module {min(originals)!r} of the architecture is missing")
    return tuple(edits)


def replay(model: nn.Module, edits: tuple[Edit, ...]) -> None:
    """Resize the modules of ``model`` in place; their new tensors are uninitialised."""
    modules = dict(model.named_modules())
    for edit in edits:
        module = modules.get(edit.module)
        if module is None or set(edit.tensors) != set(_shapes(module)) or set(edit.sizes) != set(_sizes(module)):
            raise CheckpointError(f"its edit of {edit.module!r} does not fit the architecture")
        for name, size in edit.sizes.items():
            setattr(module, name, size)
        for name, shape in edit.tensors.items():
            old = getattr(module, name)
            new = torch.empty(shape, dtype=old.dtype, device=old.device)
            is_parameter = isinstance(old, nn.Parameter)
            setattr(module, name, nn.Parameter(new, old.requires_grad) if is_parameter else new)


def _sizes(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    found = {name: getattr(module, name) for name in SIZES if hasattr(module, name)}
    plain = {name: tuple(size) if isinstance(size, list | tuple) else size for name, size in found.items()}
    return {name: size for name, size in plain.items() if isinstance(size, int | tuple)}


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: tuple(tensor.shape) for name, tensor in own}
