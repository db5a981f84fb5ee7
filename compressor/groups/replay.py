"""A forward pass that repeats only what a change reaches: what other modules give is taken from an earlier pass."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from compressor.layer_kinds import MAKERS

# Rounding, as a share of the largest entry: what differs by no more is the same argument.
ROUNDING = 1e-13
# What is kept of one pass; modules that are called later are run again.
MOST_BYTES = 2**30
# Hooks and the like; `training` is switched from pass to pass.
OF_EVERY_MODULE = vars(nn.Module()).keys()

Instead = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]
# torch's own, which another thread's networks go on using while ours is replaced.
_call = nn.Module.__call__


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a module was called with and what it gave, and how often each tensor had been written into by then."""

    arguments: Sequence[Any]
    form: TreeSpec
    results: Sequence[Any]
    result_form: TreeSpec
    versions: tuple[int, ...]

    def fits(self, arguments: Sequence[Any], form: TreeSpec) -> bool:
        """Whether it was the same call, and nothing has been written into its tensors since."""
        return (
            form == self.form
            and _versions([*self.arguments, *self.results]) == self.versions
            and all(map(_same, arguments, self.arguments))
        )


class Replay:
    """Forward passes of networks that share modules with ``model``, of which one pass is known."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._seen: dict[nn.Module, list[_Seen]] = defaultdict(list)
        self._worth = {module for module in model.modules() if isinstance(module, MAKERS) or any(module.children())}
        self._sizes: dict[int, int] = {}
        # The innermost module of the last pass that ended with an error.
        self.failed: nn.Module | None = None

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Note what the modules give inside the block; nothing if they keep things from call to call."""
        before = _state(self._model)
        with _calling(self._record):
            yield
        if _changed(before, _state(self._model)):
            self._seen.clear()

    @contextlib.contextmanager
    def replaying(self, *, complete: bool) -> Iterator[None]:
        """Modules that are called as before do not run again; all of them do when it is to be ``complete``."""
        self.failed = None
        with _calling(self._run if complete else self._repeat):
            yield

    def _run(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            return _call(module, *args, **kwargs)
        except Exception:
            self.failed = self.failed or module
            raise

    def _record(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if module not in self._worth:
            return _call(module, *args, **kwargs)
        arguments, form = tree_flatten((args, kwargs))
        before = _versions(arguments)
        out = _call(module, *args, **kwargs)
        results, result_form = tree_flatten(out)
        if (
            _versions(arguments) == before
            and all(map(_plain, [*arguments, *results]))
            and self._fits([*arguments, *results])
        ):
            versions = before + _versions(results)
            self._seen[module].append(_Seen(arguments, form, results, result_form, versions))
        return out

    def _repeat(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if module in self._seen:
            arguments, form = tree_flatten((args, kwargs))
            for seen in self._seen[module]:
                if seen.fits(arguments, form):
                    return tree_unflatten(seen.results, seen.result_form)
        return self._run(module, args, kwargs)

    def _fits(self, leaves: Sequence[Any]) -> bool:
        """Whether there is room for these tensors, which is then theirs; each is counted once."""
        tensors = {id(leaf): leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor)}
        if sum((self._sizes | tensors).values()) > MOST_BYTES:
            return False
        self._sizes |= tensors
        return True


@contextlib.contextmanager
def _calling(instead: Instead) -> Iterator[None]:
    """Modules are called through ``instead``."""

    def called(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return instead(module, args, kwargs)

    before = nn.Module.__call__
    nn.Module.__call__ = called  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__call__ = before  # type: ignore[method-assign]


def _versions(leaves: Sequence[Any]) -> tuple[int, ...]:
    return tuple(leaf._version for leaf in leaves if isinstance(leaf, Tensor))


def _plain(leaf: Any) -> bool:
    """What cannot change without being seen."""
    if isinstance(leaf, Tensor):
        return leaf.layout is torch.strided
    return leaf is None or isinstance(leaf, bool | int | float | str | torch.Size | torch.dtype | torch.device)


def _same(one: Any, other: Any) -> bool:
    if one is other or not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return one is other or (type(one) is type(other) and bool(one == other))
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    return not one.numel() or bool((one - other).abs().max() <= ROUNDING * other.abs().max())


def _state(model: nn.Module) -> dict[tuple[nn.Module, str], tuple[Any, int]]:
    """What each module holds beside its hooks, and how much of it where it can grow."""
    return {
        (module, name): (value, len(value) if isinstance(value, list | dict | set) else 0)
        for module in model.modules()
        for name, value in [*vars(module).items(), *module._buffers.items()]
        if name not in OF_EVERY_MODULE
    }


def _changed(before: dict[Any, tuple[Any, int]], after: dict[Any, tuple[Any, int]]) -> bool:
    return before.keys() != after.keys() or any(
        value is not after[key][0] or size != after[key][1] for key, (value, size) in before.items()
    )
