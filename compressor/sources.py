"""Where a network comes from, named by an architecture reference.

    resnet20                     a built-in architecture (``compress list architectures``)
    torchvision:resnet18         torchvision's models, when it is installed
    timm:resnet50                timm's models, when it is installed
    package.module:factory       any importable factory
    path/to/file.py:factory      a factory in a file

Adding a source is one function ``(name, args) -> Module`` and one line in `SOURCES`.
The last two run the user's own code, so they need the user's word (``trust``); so do arguments with which timm or
torchvision could fetch or read files (`refuse_reaching_out`).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from compressor.architectures import ARCHITECTURES
from compressor.errors import UnknownName, UsageError
from compressor.registry import resolve
from compressor.user_code import Kind, called, names_file, of_file, of_module
from compressor.wrappers import unwrapped

SOURCES = {
    "builtin": "compressor.sources:build_builtin",
    "file": "compressor.sources:build_from_file",
    "module": "compressor.sources:build_from_module",
    "timm": "compressor.sources:build_timm",
    "torchvision": "compressor.sources:build_torchvision",
}
RUN_USER_CODE = frozenset({"file", "module"})
# Whose factories can download trained weights, or read them from a path.
LIBRARIES = frozenset({"timm", "torchvision"})
REACHING = re.compile(r"pretrained|weights|checkpoint|path|file|dir|url|hub|cache", re.IGNORECASE)
# A file or an address has more than the letters of a name such as "relu".
NAME = re.compile(r"\w{1,64}", re.ASCII)
ARCHITECTURE = Kind("architecture", "factory", "--arch-arg")
# These are told by their form; the others by their name before the colon.
UNNAMED = RUN_USER_CODE | {"builtin"}


@dataclass(frozen=True)
class Architecture:
    """An architecture reference and the arguments of its factory."""

    ref: str
    args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """The key of `SOURCES` that understands the reference."""
        head, colon, _ = self.ref.partition(":")
        if head in SOURCES.keys() - UNNAMED and colon:
            return head
        if names_file(self.ref):
            return "file"
        return "module" if colon else "builtin"

    @property
    def runs_user_code(self) -> bool:
        """Whether building it runs code that a file or module of the user names."""
        return self.source in RUN_USER_CODE

    def build(self, *, trust: bool = False) -> nn.Module:
        """A network with random weights; `UsageError` when it needs trust, or cannot be built."""
        if self.runs_user_code and not trust:
            raise UsageError(
                f"architecture {self.ref!r} would run code that the checkpoint names; "
                f"pass --arch {self.ref} or --trust-arch if you trust it"
            )
        name = self.ref if self.source in UNNAMED else self.ref.partition(":")[2]
        network = resolve("source", SOURCES, self.source)(name, dict(self.args))
        if not isinstance(network, nn.Module):
            raise UsageError(f"{self.ref} returned a {type(network).__name__}; a torch.nn.Module is needed")
        if lazy := next((name for name, parameter in network.named_parameters() if is_lazy(parameter)), None):
            raise UsageError(
                f"{self.ref} has layers whose sizes are not known yet ({lazy}); "
                "run the network once in its factory, or give them sizes"
            )
        # A wrapper for several devices or a compiled one is no part of the architecture.
        return unwrapped(network)[0]


def refuse_reaching_out(architecture: Architecture) -> None:
    """Raise `UsageError` for arguments with which a library could fetch or read a file that a checkpoint names."""
    if architecture.source not in LIBRARIES:
        return
    for name, value in architecture.args.items():
        # Off is off, whatever the argument is called.
        if not (value is None or value is False) and (REACHING.search(name) or not _is_plain(value)):
            raise UsageError(
                f"architecture {architecture.ref!r} with the argument {name}={value!r:.80} could fetch or read a file "
                f"that the checkpoint names; pass --arch-arg {name}=VALUE or --trust-arch if you trust it"
            )


def _is_plain(value: Any) -> bool:
    """Numbers and names, and lists of them: nothing that could be a place."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, int | float) or (isinstance(value, str) and bool(NAME.fullmatch(value)))


def input_shape_of(network: nn.Module) -> tuple[int, ...] | None:
    """The input shape (channels, height, width) that a network itself declares, if any."""
    declared = getattr(network, "input_shape", None)
    if declared is None:
        # timm's convention
        config = getattr(network, "default_cfg", None)
        declared = config.get("input_size") if isinstance(config, Mapping) else None
    return None if declared is None else tuple(int(size) for size in declared)


def build_builtin(name: str, args: dict[str, Any]) -> Any:
    """A built-in architecture by name."""
    return called(ARCHITECTURE, resolve("architecture", ARCHITECTURES, name), name, args)


def build_timm(name: str, args: dict[str, Any]) -> Any:
    """A timm model with random weights."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"timm:{name} needs timm, which cannot be imported ({error}); pip install 'torch-compressor[timm]'"
        ) from error
    if not timm.is_model(name):
        raise UnknownName("timm model", name, timm.list_models())
    return called(ARCHITECTURE, partial(timm.create_model, name, pretrained=False), f"timm:{name}", args)


def build_torchvision(name: str, args: dict[str, Any]) -> Any:
    """A torchvision model with random weights; classifiers take 224x224 RGB images unless said otherwise."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"torchvision:{name} needs torchvision, which cannot be imported ({error}); "
            "pip install 'torch-compressor[torchvision]'"
        ) from error
    known = models.list_models()
    if name not in known:
        raise UnknownName("torchvision model", name, known)
    # Detection and segmentation networks would fetch a trained backbone.
    backbone = "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters
    none = {"weights": None, **({"weights_backbone": None} if backbone else {})}
    network = called(ARCHITECTURE, partial(models.get_model, name, **none), f"torchvision:{name}", args)
    network.input_shape = (3, 299, 299) if name.startswith("inception") else (3, 224, 224)
    return network


def build_from_file(ref: str, args: dict[str, Any]) -> Any:
    """Run the file as a module of its own and call its factory."""
    return called(ARCHITECTURE, of_file(ARCHITECTURE, ref), ref, args)


def build_from_module(ref: str, args: dict[str, Any]) -> Any:
    """Import the module (the current folder counts) and call its factory."""
    return called(ARCHITECTURE, of_module(ARCHITECTURE, ref), ref, args)
