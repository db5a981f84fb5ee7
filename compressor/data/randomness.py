"""Random numbers of code that is not ours, apart from those that a training draws."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class OwnRandomness:
    """The global generators of Python, numpy and torch, begun with a seed inside of `drawn` and untouched outside.

    So the order and the augmentation of a user's loader depend on the seed alone, and change nothing else.
    """

    def __init__(self, seed: int) -> None:
        self._seed, self._left = seed, None

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Inside, the global generators go on where they were left the last time."""
        before = _states()
        if self._left is None:
            random.seed(self._seed)
            np.random.seed(self._seed % 2**32)  # noqa: NPY002, users' code draws from it
            torch.default_generator.manual_seed(self._seed)
        else:
            _restore(self._left)
        try:
            yield
        finally:
            self._left = _states()
            _restore(before)


def _states() -> Any:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _restore(states: Any) -> None:
    python, numpy, of_torch = states
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(of_torch)
