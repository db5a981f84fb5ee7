"""Forward hooks that are there for a while only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


@contextlib.contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Hooks that last as long as the block, whatever happens in it.

    ``handles`` is best a generator that registers them: where one cannot be registered, those before it go again.
    """
    with contextlib.ExitStack() as stack:
        for handle in handles:
            stack.enter_context(handle)
        yield


@contextlib.contextmanager
def running(model: nn.Module) -> Iterator[list[tuple[str, nn.Module]]]:
    """The modules that are running, with their names, outermost first; after an error those in which it happened."""
    stack: list[tuple[str, nn.Module]] = []

    def enter(name: str) -> Any:
        return lambda module, args: stack.append((name, module))

    def leave(module: nn.Module, args: Any, out: Any) -> None:
        stack.pop()

    def handles() -> Iterator[RemovableHandle]:
        for name, module in model.named_modules():
            yield module.register_forward_pre_hook(enter(name))
            yield module.register_forward_hook(leave)

    with hooked(handles()):
        yield stack
