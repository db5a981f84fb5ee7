"""Modules that were taught are followed by what was said of them, and not by what runs inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from operator import attrgetter
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from compressor.groups.rules.taught import apply
from compressor.groups.trace import Call, Rule, Trace
from compressor.hooks import hooked
from compressor.teaching import Lesson, lesson_for


def taught_modules(
    model: nn.Module, trace: Trace, follow: Callable[[Trace, Call, Rule], None]
) -> AbstractContextManager[None]:
    """A block in which ``trace`` pauses inside of them, and ``follow`` gets each as one operation with its rule."""

    def enter(module: nn.Module, args: Any) -> None:
        trace.paused += 1

    def leave(lesson: Lesson) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
            trace.paused -= 1
            if not trace.paused:
                own = {each.name: attrgetter(each.name)(module) for each in lesson.operands if each.name is not None}
                call = Call(None, type(module).__name__, args, kwargs, out)
                follow(trace, call, partial(apply, lesson=lesson, parameters=own))

        return hook

    def handles() -> Iterator[RemovableHandle]:
        for module in model.modules():
            if (lesson := lesson_for(module)) is not None:
                yield module.register_forward_pre_hook(enter)
                yield module.register_forward_hook(leave(lesson), with_kwargs=True)

    return hooked(handles())
