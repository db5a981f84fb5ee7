"""A network in another precision than its own: a copy, and its code made to compute in it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from compressor.inputs import COMPLEX

# In float64 rounding cannot hide a fault; in float32 it reaches about 1e-6 of the output scale.
FLOAT64_LIMIT = 1e-9
FLOAT32_LIMIT = 1e-5
LIMITS = {torch.float64: FLOAT64_LIMIT, torch.float32: FLOAT32_LIMIT}
LOW = (torch.float16, torch.bfloat16)
FLOATS = (*LOW, torch.float32, torch.float64)
# Methods of tensors and classes of them that say a precision by their names.
CASTS: frozenset[Any] = frozenset({Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16})
CLASSES = {"torch.FloatTensor", "torch.DoubleTensor", "torch.HalfTensor", "torch.BFloat16Tensor"}


def in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of ``model`` on the CPU whose numbers are all ``dtype``, complex ones as wide."""
    kinds = _kinds(dtype)
    made = copy.deepcopy(model).cpu()
    made._apply(lambda tensor: tensor.to(kinds.get(tensor.dtype, tensor.dtype)))  # type: ignore[no-untyped-call]
    return made


def precisions(model: nn.Module) -> set[torch.dtype]:
    """In which floating-point types the numbers of ``model`` are."""
    return {tensor.dtype for tensor in [*model.parameters(), *model.buffers()] if tensor.is_floating_point()}


def limit_of(precision: torch.dtype | None) -> float:
    """By how much of their scale outputs that are the same may differ when they are computed so."""
    return LIMITS[precision or torch.float32]


@contextlib.contextmanager
def computed_in(dtype: torch.dtype | None) -> Iterator[None]:
    """Inside the block, what code makes or casts is ``dtype`` wherever it would be another floating-point type.

    So ``torch.zeros(2, 3)`` and ``x.float()`` fit a copy in float64 that is run there. None changes nothing.
    """
    if dtype is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with _Casts(dtype):
            yield
    finally:
        torch.set_default_dtype(before)


class _Casts(TorchFunctionMode):
    """Replaces the precision that is asked for, and casts tensors that come from elsewhere, plain attributes say."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._kinds = _kinds(dtype)
        self._cast = {torch.float32: Tensor.float, torch.float64: Tensor.double}[dtype]
        # The same tensor has the same copy, so that what code writes into it is read again.
        self._copies: MutableMapping[Tensor, Tensor] = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The same function with what it is given in the one precision."""
        if func in CASTS:
            func = self._cast
        return func(*map(self._changed, args), **{name: self._changed(value) for name, value in (kwargs or {}).items()})

    def _changed(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._copied(value) if value.dtype in self._kinds else value
        if isinstance(value, torch.dtype):
            return self._kinds.get(value, value)
        if type(value) in {list, tuple}:
            return type(value)(map(self._changed, value))
        if isinstance(value, str | type) and (value in CLASSES or _name(value) in CLASSES):
            return self._kinds.get(torch.float32, torch.float32)
        return value

    def _copied(self, tensor: Tensor) -> Tensor:
        if tensor not in self._copies:
            self._copies[tensor] = tensor.to(self._kinds[tensor.dtype])
        return self._copies[tensor]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__name__', '')}"


def _kinds(dtype: torch.dtype) -> dict[torch.dtype, torch.dtype]:
    """What every other floating-point and complex type becomes."""
    kinds = dict.fromkeys(FLOATS, dtype) | dict.fromkeys(COMPLEX.values(), COMPLEX[dtype])
    return {one: other for one, other in kinds.items() if one != other}
