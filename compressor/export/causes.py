"""Code that gives another shape at another batch size, which no exported file can follow."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.equivalence import Inputs, outputs
from compressor.hooks import running


def cause(model: nn.Module, example: Inputs) -> str:
    """What in ``model`` is known not to follow the batch size, as the end of a sentence; empty where nothing is."""
    with running(model) as stack, _Squeezes(stack) as squeezes:
        outputs(model, example)
    if squeezes.where is None:
        return ""
    place = squeezes.where or "the network's own forward"
    return f"; squeeze() without a dimension in {place} drops a batch of one too: name the dimension, squeeze(-1)"


class _Squeezes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The first module that squeezes without saying which dimension."""

    def __init__(self, stack: list[tuple[str, nn.Module]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack = stack
        self.where: str | None = None

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation."""
        if function._schema.name in {"aten::squeeze", "aten::squeeze_"} and len(args) == 1 and self.where is None:
            self.where = self._stack[-1][0] if self._stack else ""
        return function(*args, **(kwargs or {}))
