"""Where a network comes from, named by an architecture reference.

    resnet20                     a built-in architecture (``compress list architectures``)
    torchvision:resnet18         torchvision's models, when it is installed
    timm:resnet50                timm's models, when it is installed
    package.module:factory       any importable factory
    path/to/file.py:factory      a factory in a file

Adding a source is one function ``(name, args) -> Module`` and one line in `SOURCES`.
The last two run the user's own code, so they need the user's word (``trust``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from compressor.errors import UsageError
from compressor.registry import resolve

SOURCES = {
    "builtin": "compressor.sources.factory:build_builtin",
    "file": "compressor.sources.user_code:build_from_file",
    "module": "compressor.sources.user_code:build_from_module",
    "timm": "compressor.sources.libraries:build_timm",
    "torchvision": "compressor.sources.libraries:build_torchvision",
}
RUN_USER_CODE = frozenset({"file", "module"})
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
        return network


def input_shape_of(network: nn.Module) -> tuple[int, ...] | None:
    """The input shape (channels, height, width) that a network itself declares, if any."""
    declared = getattr(network, "input_shape", None)
    if declared is None:
        # timm's convention
        config = getattr(network, "default_cfg", None)
        declared = config.get("input_size") if isinstance(config, Mapping) else None
    return None if declared is None else tuple(int(size) for size in declared)
