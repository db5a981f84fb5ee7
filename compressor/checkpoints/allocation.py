"""What building and running a network takes in memory, known before it is taken."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from compressor.errors import CompressorError, UsageError
from compressor.inputs import Inputs, call, each
from compressor.limits import check_memory
from compressor.structures import tensors

# Building a network of a thousand layers takes less than a third, and so many take some seconds.
BUILDING_OPERATIONS = 50_000
# A forward pass this long is judged by its beginning.
FORWARD_OPERATIONS = 20_000
# Following channels and probing groups takes 6.6 times what is alive in a forward pass of ResNet-20 at 640x640, and
# 11.1 times in one of two convolutions. It also takes many passes, so the more memory the more time.
COPIES = 16
BATCH = 2


class _Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are alive: before an operation that only makes one, after any other."""

    def __init__(self, check: Any, operations: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._check, self._operations = check, operations
        self._alive, self._sizes = 0, dict[int, int]()
        self.peak = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Torch's own default imports its compiler, for most of a second, to keep it away from here.
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._operations -= 1
        if self._operations < 0:
            raise _TooLong
        self._check(self._alive + _asked(function, args, kwargs))
        out = function(*args, **kwargs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.layout is torch.strided and not tensor.is_nested:
                self._hold(tensor.untyped_storage())
        self._check(self._alive)
        self.peak = max(self.peak, self._alive)
        return out

    def _hold(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if self._sizes.get(key) != size:
            self._alive += size - self._sizes.get(key, 0)
            self._sizes[key] = size
            weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        if self._sizes.get(key) == size:
            self._alive -= self._sizes.pop(key)


class _TooLong(BaseException):
    """More operations than are looked at; no error, so that no network's code catches it."""


def _asked(function: Any, args: Any, kwargs: Any) -> float:
    """Bytes that an operation such as ``torch.ones`` makes of nothing but a size."""
    first = function._schema.arguments[0].name if function._schema.arguments else ""
    place = {"size": 0, "self": 1}.get(first)
    if place is None or (place and not function._schema.name.startswith("aten::new_")):
        return 0
    size = args[place] if len(args) > place else kwargs.get("size", ())
    dtype = kwargs.get("dtype") or torch.get_default_dtype()
    return math.prod(size) * dtype.itemsize if isinstance(size, list | tuple) else 0


@contextmanager
def building(what: str, *, held: int, kind: type[CompressorError]) -> Iterator[None]:
    """A block that makes tensors: it fails, before they are made, when they take more memory than is allowed.

    ``what`` is built there, from a file of ``held`` bytes. Raises ``kind``; `UsageError` after 50,000 operations.
    """
    try:
        with _Allocations(lambda needed: check_memory(needed, what, held=held, kind=kind), BUILDING_OPERATIONS):
            yield
    except _TooLong:
        raise UsageError(
            f"{what} takes more than {BUILDING_OPERATIONS:,} operations to build, so it was given up; "
            "its arguments (--arch-arg) ask for too many layers"
        ) from None


def check_forward(
    model: nn.Module,
    shape: Sequence[int],
    *,
    held: int,
    kind: type[CompressorError],
    usual: bool = False,
    examples: Sequence[Any] = (),
) -> None:
    """Raise ``kind`` when looking at ``model`` with inputs of ``shape`` (without the batch) takes too much memory.

    With ``examples`` these are the inputs.

    The forward pass runs on tensors without data (torch's device "meta"). Code that cannot run so is judged by its
    input alone, and so is code at the ``usual`` shape, its own.
    """
    what = f"working with inputs of {'x'.join(map(str, shape))}"
    sizes = [4 * BATCH * math.prod(shape)]
    if examples:
        what = "working with the examples"
        sizes = [tensor.numel() * tensor.element_size() for _, tensor in tensors(list(examples))]
    check_memory(COPIES * sum(sizes), what, held=held, kind=kind)
    calls = [partial(each, example, _empty) for example in examples]
    if not usual and not examples:
        calls = [partial(torch.empty, BATCH, *shape)]
    for make in calls:
        check_memory(COPIES * _peak(model, make), what, held=held, kind=kind)


def _empty(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def _peak(model: nn.Module, make: Callable[[], Inputs]) -> int:
    """Bytes that are alive at most in a forward pass, parameters left out; as far as it runs without data."""
    mode = _Allocations(lambda needed: None, FORWARD_OPERATIONS)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            hollow = _hollow(model)
            with torch.device("meta"), mode:
                call(hollow, make())
    except (Exception, _TooLong):  # what is wrong with the network is told where it really runs
        pass
    return mode.peak


def _hollow(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without data, in eval mode; its own state stays as it is."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(model, memo).eval()
