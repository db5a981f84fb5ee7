"""Where a network's code decides by values which way to go, or draws random numbers: one run shows one way only."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, MutableMapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from compressor.equivalence import Inputs, each, outputs
from compressor.hooks import running
from compressor.inputs import Examples
from compressor.products import draws
from compressor.structures import tensors

NETWORK = "the network's own forward"
# Operations that hand values of a tensor to Python.
READ = frozenset({"_local_scalar_dense", "equal", "is_nonzero"})
TORCH = f"{Path(torch.__file__).parent}{os.sep}"
# Through these an operation of the network's code comes here.
MACHINERY = (
    f"{Path(__file__).parents[1]}{os.sep}",
    *(
        f"{TORCH}{name}"
        for name in ("_dynamo", "_compile.py", "_ops.py", "_tensor.py", "overrides.py", "utils/_python")
    ),
)


class ControlFlow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """What one run of ``model`` does beside computing.

    ``operations`` are the pairs of a module and an operation that ran in it, ``ran`` the modules that were called;
    ``decides`` names for each module that reads values which come from the inputs the line of code that does, and
    ``random`` are the modules that draw random numbers.
    """

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: set[tuple[str, str]] = set()
        self.ran: set[str] = set()
        self.decides: dict[str, str] = {}
        self.random: set[str] = set()
        self._from_inputs: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
        for _, leaf in tensors(Examples.of(inputs).calls):
            self._from_inputs[leaf] = True
        with running(model) as self._stack, self:
            outputs(model, inputs)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and note what it says."""
        out = function(*args, **(kwargs or {}))
        name, where = function._schema.name.partition("::")[2], self._stack[-1][0] if self._stack else ""
        self.operations.add((where, name))
        self.ran.update(place for place, _ in self._stack)
        if draws(function, args, kwargs or {}):
            self.random.add(where)
        if any(isinstance(leaf, Tensor) and leaf in self._from_inputs for leaf in tree_leaves((args, kwargs))):
            if name in READ and (line := _line()) is not None:
                self.decides.setdefault(where, line)
            for leaf in tree_leaves(out):
                if isinstance(leaf, Tensor):
                    self._from_inputs[leaf] = True
        return out


def _line() -> str | None:
    """The line of code that reads a value; None where that is torch's own, which knows what it does."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(MACHINERY):
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(TORCH):
        return None
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"


def undecided(model: nn.Module, inputs: Examples, wanted: Set[tuple[str, str]] | None) -> dict[str, str]:
    """By module why nothing that it sees may go: it decides by values, and nobody has said which ways there are.

    Several examples of the user say that: ``wanted`` are the operations that they reach in the network as it is, all of
    which ``inputs`` must reach in ``model``, which has random weights.
    """
    flow = ControlFlow(model, inputs)
    if wanted is not None and wanted <= flow.operations:
        return {}
    why = "the example shows one way only" if wanted is None else "with random weights the examples go other ways"
    return {
        name: f"{name or NETWORK} decides by values which way to go ({line}), and {why}"
        for name, line in flow.decides.items()
    }


def with_other_sizes(model: nn.Module, inputs: Examples) -> Examples:
    """A single example, and others of other sizes where the network does other things with them.

    Batches of one and three, and for each axis behind the channels half of its size and one more, as far as the network
    runs with them: what it does at such a size is then followed, tried and compared too.
    """
    if len(inputs.calls) > 1:
        return inputs
    known, calls = ControlFlow(model, inputs).operations, [inputs.calls[0]]
    for change in (_batch(1), _batch(3), _side(lambda size: size // 2), _side(lambda size: size + 1)):
        try:
            other = each(inputs, change)
            found = ControlFlow(model, other).operations
        except Exception:  # whatever the network's code raises on a size that it was not made for
            continue
        if not found <= known:
            known, calls = known | found, [*calls, other.calls[0]]
    return Examples(*calls, outputs=inputs.outputs, precision=inputs.precision)


def _batch(count: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor[torch.arange(count) % len(tensor)] if tensor.ndim else tensor


def _side(change: Callable[[int], int]) -> Callable[[Tensor], Tensor]:
    """Other sizes of the axes behind the channels: entries from the beginning again, or fewer."""

    def resized(tensor: Tensor) -> Tensor:
        for dim in range(2, tensor.ndim if tensor.is_floating_point() else 0):
            size = max(1, change(tensor.shape[dim]))
            tensor = tensor.index_select(dim, torch.arange(size, device=tensor.device) % tensor.shape[dim])
        return tensor

    return resized
