"""What the outputs of a network depend on: the operations of one forward pass, as autograd links them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from compressor.equivalence import outputs_with_graph
from compressor.hooks import hooked
from compressor.inputs import Examples
from compressor.structures import mapped, tensors

# They put tensors side by side.
JOINS = ("Cat", "Stack")


class Graph:
    """The operations of one forward pass of each example, numbered.

    ``made`` holds by module those that gave its results, one for each time that it was called, ``parameters`` by name
    what reads a parameter, ``outputs`` those of the network, and ``sources`` what reads its inputs.
    """

    def __init__(self, model: nn.Module, inputs: Examples) -> None:
        """Run ``model``; raises whatever its code raises where it is to be differentiated."""
        given = inputs.map(lambda example: mapped(example, _followed))
        leaves = [tensor for _, tensor in tensors(given.calls)]
        with _trainable(model), _noted(model, leaves) as (made, embedded):
            outputs = [tensor.grad_fn for tensor in outputs_with_graph(model, given)]
        self._numbers: dict[Any, int] = {}
        self._known: dict[int, set[int]] = {}
        self._behind = self._linked([node for nodes in [outputs, *made.values()] for node in nodes if node is not None])
        self._users = _turned(self._behind)
        self._kinds = [type(node).__name__ for node in self._numbers]
        self.outputs = [self._numbers[node] for node in outputs if node is not None]
        self.made = {name: [self._numbers[node] for node in nodes] for name, nodes in made.items() if None not in nodes}
        read = {id(node.variable): number for node, number in self._numbers.items() if hasattr(node, "variable")}
        every = model.named_parameters(remove_duplicate=False)
        self.parameters = {name: read[id(one)] for name, one in every if id(one) in read}
        started = {read[id(tensor)] for tensor in leaves if id(tensor) in read}
        self.sources = started | {self._numbers[node] for node in embedded if node is not None}

    def alive(self, removed: Collection[int] = (), roots: Iterable[int] | None = None) -> set[int]:
        """What the ``roots``, all outputs by default, depend on when what those ``removed`` give is constant."""
        left = [node for node in (self.outputs if roots is None else roots) if node not in removed]
        seen = set(left)
        while left:
            for node in self._behind[left.pop()]:
                if node not in seen and node not in removed:
                    seen.add(node)
                    left.append(node)
        return seen

    def depends(self, removed: Collection[int], roots: Iterable[int] | None = None) -> bool:
        """Whether each root still depends on every input that it depends on, when those ``removed`` are constant."""
        return all(
            self.alive(removed, [root]) & self.sources == self._read_by(root)
            for root in (self.outputs if roots is None else roots)
        )

    def _read_by(self, root: int) -> set[int]:
        """The inputs on which an operation depends."""
        if root not in self._known:
            self._known[root] = self.alive((), [root]) & self.sources
        return self._known[root]

    def read(self, nodes: Iterable[int], alive: Collection[int]) -> bool:
        """Whether something that is alive, or the network itself, reads what one of them gives."""
        return any(node in self.outputs or any(user in alive for user in self._users[node]) for node in nodes)

    def joined(self, node: int) -> bool:
        """Whether what an operation gives is put beside other tensors before it meets one in another way."""
        left, seen = [node], set[int]()
        while left:
            for user in set(self._users[left.pop()]) - seen:
                seen.add(user)
                if self._kinds[user].startswith(JOINS):
                    return True
                if sum(bool(self._behind[other]) for other in self._behind[user]) < 2:
                    left.append(user)
        return False

    def _linked(self, roots: Sequence[Any]) -> list[list[int]]:
        """By the number of each operation those whose results it reads."""
        behind: list[list[int]] = []
        self._numbers |= {node: number for number, node in enumerate(dict.fromkeys(roots))}
        left = list(self._numbers)
        # It grows while it is walked through; their order is that of their numbers.
        for node in left:
            others = [other for other, _ in node.next_functions if other is not None]
            for other in others:
                if other not in self._numbers:
                    self._numbers[other] = len(left)
                    left.append(other)
            behind.append([self._numbers[other] for other in others])
        return behind


def _turned(behind: Sequence[Sequence[int]]) -> Mapping[int, list[int]]:
    users: dict[int, list[int]] = defaultdict(list)
    for node, others in enumerate(behind):
        for other in others:
            users[other].append(node)
    return users


def _followed(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_() if _differs(tensor) else tensor


def _differs(tensor: Tensor) -> bool:
    """Whether autograd follows such numbers."""
    return tensor.is_floating_point() or tensor.is_complex()


@contextlib.contextmanager
def _trainable(model: nn.Module) -> Iterator[None]:
    """Every parameter is followed inside the block; nothing is kept, since nothing is differentiated."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        for parameter, _ in before:
            parameter.requires_grad_(_differs(parameter))
        with torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda _: torch.empty(0)):
            yield
    finally:
        for parameter, trained in before:
            parameter.requires_grad_(trained)


@contextlib.contextmanager
def _noted(model: nn.Module, given: Sequence[Tensor]) -> Iterator[tuple[dict[str, list[Any]], list[Any]]]:
    """By module what gave each of its results in the block, and what embedded numbers of the inputs."""
    made: dict[str, list[Any]] = defaultdict(list)
    embedded: list[Any] = []
    numbers = [tensor for tensor in given if not _differs(tensor)]

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
            first = out[0] if isinstance(out, tuple) and out else out
            made[name].append(first.grad_fn if isinstance(first, Tensor) else None)
            if isinstance(module, nn.Embedding) and args and any(_same(args[0], one) for one in numbers):
                embedded.append(made[name][-1])

        return hook

    with hooked(module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name):
        yield made, embedded


def _same(read: Any, given: Tensor) -> bool:
    return isinstance(read, Tensor) and read.numel() == given.numel() and torch.equal(read.flatten(), given.flatten())
