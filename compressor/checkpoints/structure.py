"""How a shrunk network differs from its architecture, as data, and how to make it again.

A difference is a list of edits, each the new sizes of one module: no tracing, no pickle and no
pruning library is needed to replay it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from compressor.architectures.attention import SlimAttention
from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.architectures.constant import Constant
from compressor.architectures.norms import SlimLayerNorm, SlimNorm, SlimResponseNorm, SlimRMSNorm
from compressor.architectures.relative_attention import SlimRelativeAttention
from compressor.architectures.window_attention import SlimWindowAttention
from compressor.checkpoints.fields import field, named, size, sizes
from compressor.checkpoints.size_names import SIZES
from compressor.computed_weights import computation, computed, fold_weights, folded
from compressor.errors import CheckpointError
from compressor.layer_kinds import PLAIN_CONVOLUTIONS, agrees

# The edit of a module whose weights the architecture computes from others, and the network does not.
PLAIN_WEIGHTS = "plain weights"
# A module is replaced and what is in it resized: no network needs more for each of its modules, beyond so many.
EDITS, FEW_EDITS = 4, 1000
# Of many edits that cannot be made, so many are named.
LISTED = 10
# What an edit may put in the place of a module.
REPLACEMENTS: Mapping[str, type[nn.Module]] = {
    "padded shortcut": PaddedShortcut,
    "constant": Constant,
    "identity": nn.Identity,
    "attention": SlimAttention,
    "relative attention": SlimRelativeAttention,
    "window attention": SlimWindowAttention,
    "layer norm": SlimLayerNorm,
    "rms norm": SlimRMSNorm,
    "response norm": SlimResponseNorm,
}


@dataclass(frozen=True)
class Edit:
    """New sizes of one module: attributes, and the shapes of its own parameters and buffers.

    ``kind`` is "resize" or `PLAIN_WEIGHTS`, or names in `REPLACEMENTS` what takes the module's place.
    """

    module: str
    sizes: Mapping[str, int | tuple[int, ...]]
    tensors: Mapping[str, tuple[int, ...]]
    kind: str = "resize"

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "edit": self.kind,
            "module": self.module,
            "sizes": {name: list(value) if isinstance(value, tuple) else value for name, value in self.sizes.items()},
            "tensors": {name: list(shape) for name, shape in self.tensors.items()},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Edit:
        """Read it back; ValueError on an unknown kind of edit or an attribute that is no size."""
        kind = field(plain, "edit", str)
        if kind not in {"resize", PLAIN_WEIGHTS, *REPLACEMENTS}:
            raise ValueError(f"unknown edit {kind!r}")
        attributes, tensors = named(plain, "sizes"), named(plain, "tensors")
        refused = sorted(set(attributes) - set(SIZES))
        if refused:
            raise ValueError(f"an edit may not set {', '.join(refused)}")
        return cls(
            field(plain, "module", str),
            {name: size(attributes, name) for name in attributes},
            {name: sizes(tensors, name) for name in tensors},
            kind,
        )


def difference(dense: nn.Module, small: nn.Module) -> tuple[Edit, ...]:
    """The edits that turn ``dense`` into the shape of ``small``; `CheckpointError` when sizes cannot say it."""
    left = computed(small)
    names = [name for name in computed(dense) if name not in left]
    originals, edits = dict(folded(dense, names).named_modules()), [Edit(name, {}, {}, PLAIN_WEIGHTS) for name in names]
    for name, module in small.named_modules():
        original = originals.pop(name, None)
        kind = next((kind for kind, made in REPLACEMENTS.items() if type(module) is made), "resize")
        if original is not None and kind != "resize" and type(original) is not type(module):
            for inner, _ in original.named_modules(prefix=name):
                originals.pop(inner, None)
            edits.append(Edit(name, _arguments(module), {}, kind))
            # What lies in it may differ from what the edit makes.
            originals |= dict(_replacement(edits[-1], original).named_modules(prefix=name))
            del originals[name]
            continue
        # By name: a file of the user's that is run twice makes the same class twice.
        if original is None or type(original).__qualname__ != type(module).__qualname__:
            raise CheckpointError(f"module {name!r} is not the architecture's; only sizes may differ")
        attributes, shapes = _sizes(module), _shapes(module)
        if set(shapes) != set(_shapes(original)) | (set(shapes) & _missing(original)):
            raise CheckpointError(f"module {name!r} gained or lost a tensor; only sizes may differ")
        if attributes != _sizes(original) or shapes != _shapes(original):
            edits.append(Edit(name, attributes, shapes))
    if originals:
        raise CheckpointError(f"module {min(originals)!r} of the architecture is missing")
    return tuple(edits)


def replay(model: nn.Module, edits: tuple[Edit, ...]) -> None:
    """Resize the modules of ``model`` in place; their new tensors are uninitialised.

    `CheckpointError` lists every edit that cannot be made; ``model`` is then of no use any more.
    """
    modules = sum(1 for _ in model.modules())
    if len(edits) > max(EDITS * modules, FEW_EDITS):
        raise CheckpointError(f"it has {len(edits):,} edits, more than {EDITS} for each of {modules:,} modules")
    problems = []
    for edit in edits:
        try:
            _replay(model, _module(model, edit.module), edit)
        except _Unfit as error:
            problems.append(f"its edit of {edit.module!r:.80} {error}")
    if problems:
        more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise CheckpointError("; ".join(problems[:LISTED]) + more)


class _Unfit(CheckpointError):
    """One edit that cannot be made."""


def _module(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _replay(model: nn.Module, module: nn.Module | None, edit: Edit) -> None:
    if module is not None and edit.kind == PLAIN_WEIGHTS:
        if computation(model, edit.module) is None:
            raise _Unfit("is for a module that computes its weights")
        fold_weights(model, [edit.module])
        return
    if module is not None and edit.module and edit.kind != "resize":
        model.set_submodule(edit.module, _replacement(edit, module))
        return
    if module is None or not _fits(edit, module):
        raise _Unfit("does not fit the architecture")
    for name, value in edit.sizes.items():
        setattr(module, name, value)
    for name, shape in edit.tensors.items():
        _resize(module, name, shape)
    if not agrees(module):
        raise _Unfit("contradicts itself: sizes and tensors differ")


def _replacement(edit: Edit, module: nn.Module) -> nn.Module:
    """What the edit puts in the place of ``module``."""
    sizes = {name: value for name, value in edit.sizes.items() if isinstance(value, int) and value < 1 << 20}
    try:
        made = REPLACEMENTS[edit.kind]
        if issubclass(made, SlimNorm | SlimRelativeAttention | SlimWindowAttention):
            return made(module, **sizes)
        if made is not SlimAttention:
            return made(**sizes)
        if not isinstance(module, nn.MultiheadAttention) or module.in_proj_weight is None:
            raise _Unfit("does not fit the architecture")
        return SlimAttention(module, **sizes)
    except (TypeError, RuntimeError) as error:  # a size that it does not have, or one that is missing or beyond measure
        raise _Unfit(f"does not say what the {edit.kind} needs") from error


def _fits(edit: Edit, module: nn.Module) -> bool:
    """Whether the edit speaks of the tensors that the module has or may get, and of its sizes."""
    tensors = set(_shapes(module)) | (set(edit.tensors) & _missing(module))
    # A file of an older version may know fewer names of sizes.
    return set(edit.tensors) == tensors and _kinds(edit.sizes).items() <= _kinds(_sizes(module)).items()


def _missing(module: nn.Module) -> set[str]:
    """The bias that a layer lacks: removal may need one for what a removed channel sent."""
    layers = (nn.Linear, *PLAIN_CONVOLUTIONS)
    return {"bias"} if isinstance(module, layers) and module.bias is None else set()


def _resize(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    old = getattr(module, name)
    if old is None:
        old = nn.Parameter(module.weight.detach())  # type: ignore[operator]
    try:
        new = torch.empty(shape, dtype=old.dtype, device=old.device)
    except (RuntimeError, TypeError) as error:  # more than there is memory, or than a size can count
        raise _Unfit(f"asks for a tensor of {'x'.join(map(str, shape))}") from error
    setattr(module, name, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)


def _sizes(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    # A property only tells what another module states.
    stated = [name for name in SIZES if not isinstance(getattr(type(module), name, None), property)]
    values = {name: getattr(module, name) for name in stated if hasattr(module, name)}
    plain = {name: tuple(size) if isinstance(size, list | tuple) else size for name, size in values.items()}
    return {name: size for name, size in plain.items() if _is_size(size)}


def _is_size(value: object) -> bool:
    """Modules of others may mean something else by the name."""
    parts = value if isinstance(value, tuple) else (value,)
    return all(type(part) is int and part >= 0 for part in parts)


def _arguments(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    """The sizes with which a module of the same kind is made."""
    asked = inspect.signature(type(module)).parameters
    known = {name: getattr(module, name) for name in SIZES if name in asked}
    if not isinstance(module, Constant):
        return known
    # Older versions, which know the others, read one that is as it always was.
    return {name: value for name, value in known.items() if value != asked[name].default}


def _kinds(attributes: Mapping[str, int | tuple[int, ...]]) -> dict[str, type]:
    return {name: type(value) for name, value in attributes.items()}


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return {name: tuple(tensor.shape) for name, tensor in own}
