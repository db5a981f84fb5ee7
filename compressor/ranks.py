"""The processes that train one network together: what one of them decides holds for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor, distributed, nn

from compressor.structures import mapped
from compressor.wrappers import process_group

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

T = TypeVar("T")

_ALONE = ContextVar("alone", default=False)


class Ranks:
    """Those of ``group``, or of the process group of ``model`` when that is wrapped for DDP or sharded by FSDP.

    Else they are all, or one alone.

    What is exchanged is small, and lies on the CPU afterwards. Every rank must ask for it, in the same order.
    """

    def __init__(self, model: nn.Module | None = None, *, group: ProcessGroup | None = None) -> None:
        self._model, self._given = model, group

    @property
    def _group(self) -> ProcessGroup | None:
        # `fully_shard` may be called after this is made.
        return self._given if self._model is None else process_group(self._model)

    @property
    def several(self) -> bool:
        """Whether there is anyone to agree with."""
        if _ALONE.get() or not (distributed.is_available() and distributed.is_initialized()):
            return False
        return distributed.get_world_size(self._group) > 1

    def of_first(self, make: Callable[[], T]) -> T:
        """What ``make`` returns on the first rank; only there it is called."""
        if not self.several:
            return make()
        first = distributed.get_rank(self._group) == 0
        held = [_on_cpu(make()) if first else None]
        distributed.broadcast_object_list(held, group=self._group, group_src=0)
        made: Any = held[0]
        return made  # type: ignore[no-any-return]

    def of_each(self, value: T) -> list[T]:
        """The ``value`` of every rank, in their order."""
        if not self.several:
            return [value]
        held: list[Any] = [None] * distributed.get_world_size(self._group)
        distributed.all_gather_object(held, _on_cpu(value), group=self._group)
        return held


@contextmanager
def alone(value: bool = True) -> Iterator[None]:
    """Inside, this process decides for itself, though there are others: they are doing something else.

    With ``value`` False they take part again.
    """
    before = _ALONE.set(value)
    try:
        yield
    finally:
        _ALONE.reset(before)


def _on_cpu(value: T) -> T:
    # On a GPU a tensor would arrive on the device of the rank that sent it.
    moved: T = mapped(value, Tensor.cpu)
    return moved
