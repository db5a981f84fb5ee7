"""Where in a network an error happened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn


@contextlib.contextmanager
def running(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules that are running, outermost first; after an error those in which it happened."""
    names: list[str] = []

    def enter(name: str) -> Any:
        return lambda module, args: names.append(name)

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        names.pop()

    hooks = [module.register_forward_pre_hook(enter(name)) for name, module in model.named_modules()]
    hooks += [module.register_forward_hook(leave) for module in model.modules()]
    try:
        yield names
    finally:
        for hook in hooks:
            hook.remove()
