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

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from compressor.architectures import ARCHITECTURES
from compressor.errors import CompressorError, UnknownName, UsageError
from compressor.registry import resolve
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
        if self.ref.rpartition(":")[0].endswith(".py") or self.ref.endswith(".py"):
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
    return _call(resolve("architecture", ARCHITECTURES, name), name, args)


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
    return _call(partial(timm.create_model, name, pretrained=False), f"timm:{name}", args)


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
    network = _call(partial(models.get_model, name, **none), f"torchvision:{name}", args)
    network.input_shape = (3, 299, 299) if name.startswith("inception") else (3, 224, 224)
    return network


def build_from_file(ref: str, args: dict[str, Any]) -> Any:
    """Run the file as a module of its own and call its factory."""
    path, _, attribute = ref.rpartition(":")
    if not path:
        raise UsageError(f"architecture {ref!r} names no factory; write {ref}:factory")
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"architecture file {path} does not exist")
    name = f"compressor_user_{file.stem}"
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    # Dataclasses and torch look a class's module up by name.
    sys.modules[name] = module
    with _foreign(f"{path} failed when it was run"):
        spec.loader.exec_module(module)
    return _call(_pick(module, attribute, path), ref, args)


def build_from_module(ref: str, args: dict[str, Any]) -> Any:
    """Import the module (the current folder counts) and call its factory."""
    name, _, attribute = ref.partition(":")
    if not attribute:
        raise UsageError(f"architecture {ref!r} names no factory; write package.module:factory")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    with _foreign(f"cannot import {name!r} for architecture {ref!r}"):
        module = import_module(name)
    return _call(_pick(module, attribute, name), ref, args)


def _call(factory: Callable[..., Any], name: str, args: dict[str, Any]) -> Any:
    """``factory(**args)``; `UsageError` when the arguments do not fit its signature, or it fails."""
    try:
        inspect.signature(factory).bind(**args)
    except TypeError as error:
        takes = ", ".join(inspect.signature(factory).parameters) or "no arguments"
        raise UsageError(f"--arch-arg does not fit {name}: {error}; it takes {takes}") from None
    except ValueError:  # a builtin without a signature; the call itself will tell
        pass
    given = ", ".join(f"{key}={value!r:.80}" for key, value in args.items())
    with _foreign(f"{name} failed with ({given})"):
        return factory(**args)


@contextlib.contextmanager
def _foreign(what: str) -> Iterator[None]:
    """A call of code that is not ours, which can fail in any way: `UsageError`, also where it leaves the process.

    What it prints goes to stderr, because stdout is for results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except CompressorError:
        raise
    except SystemExit as error:
        raise UsageError(f"{what}: it left the process (SystemExit: {error})") from error
    except Exception as error:
        raise UsageError(f"{what}: {type(error).__name__}: {error}") from error


def _pick(module: Any, attribute: str, where: str) -> Callable[..., Any]:
    """``module.attribute`` as a factory; `UsageError` names the factories that are there."""
    factory = getattr(module, attribute, None)
    if callable(factory):
        return factory  # type: ignore[no-any-return]
    public = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    own = [name for name in public if getattr(vars(module)[name], "__module__", "") == module.__name__]
    raise UsageError(f"{where} has no factory {attribute!r}; it has: {', '.join(sorted(own)) or 'none'}")
