"""Locks that are waited for, where the others leave soon or what they do is needed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from compressor.errors import Occupied

# How often a place that another process writes is looked at again.
PAUSE_S = 0.05


@contextlib.contextmanager
def patiently(held: Callable[[], contextlib.AbstractContextManager[Any]]) -> Iterator[None]:
    """Enter the lock that ``held()`` gives, as soon as nobody else is in it."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(held())
                break
            except Occupied:
                time.sleep(PAUSE_S)
        yield
