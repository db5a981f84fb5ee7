"""Products of two tensors of the forward pass: of queries with keys, of weights with values.

Those of one module are numbered in the order in which they are computed, in the same way wherever a network runs.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from compressor.hooks import running
from compressor.layer_kinds import ATTENTION, PRODUCERS

MARK = "(product "
# By the name of an operation the place of the first of its two operands.
MATRIX_PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}
# By the name of an operation the place of the share of weights that it drops at random.
ATTENTIONS = {
    "_scaled_dot_product_flash_attention_for_cpu": 3,
    "_scaled_dot_product_flash_attention": 3,
    "_scaled_dot_product_efficient_attention": 5,
    "_scaled_dot_product_cudnn_attention": 5,
    "_scaled_dot_product_fused_attention_overrideable": 4,
    "_scaled_dot_product_attention_math": 4,
    "scaled_dot_product_attention": 4,
}


def product_name(module: str, number: int) -> str:
    """The name of a product in tables of costs."""
    return f"{module} {MARK}{number + 1})".lstrip()


def module_of(product: str) -> str:
    """The module that computes the product of that name."""
    return product.partition(MARK)[0].rstrip()


def is_product(name: str) -> bool:
    """Whether that is the name of a product, not of a layer."""
    return MARK in name


def products_of(name: str, args: Sequence[Any], is_weight: Callable[[Tensor], bool]) -> list[float]:
    """The MACs of each product that an operation of torch computes; those with weights, which layers do, left out."""
    if name in ATTENTIONS:
        query, key, value = args[:3]
        asked = prod(query.shape[:-1]) * key.shape[-2]
        return [float(asked * query.shape[-1]), float(asked * value.shape[-1])]
    if name in MATRIX_PRODUCTS:
        left, right = args[MATRIX_PRODUCTS[name] :][:2]
        if not (is_weight(left) or is_weight(right)):
            return [float(left.numel() * right.shape[-1])]
    return []


def draws(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation draws random numbers: attention, which may, only where it drops some of its weights."""
    if torch.Tag.nondeterministic_seeded not in function.tags:
        return False
    place = ATTENTIONS.get(function._schema.name.removeprefix("aten::"))
    if place is None:
        return True
    return bool(args[place] if place < len(args) else kwargs.get("dropout_p", 0.0))


@contextlib.contextmanager
def multiplying(model: nn.Module, note: Callable[[str, float], None]) -> Iterator[None]:
    """While ``model`` runs in the block, ``note`` gets the name and the MACs of every product, all samples together."""
    with running(model) as stack, _Products(model, stack, note):
        yield


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(
        self, model: nn.Module, stack: Sequence[tuple[str, nn.Module]], note: Callable[[str, float], None]
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._stack, self._note = stack, note
        self._weights = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
        self._seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and note its products but for those of layers."""
        name, module = self._stack[-1] if self._stack else ("", None)
        if not isinstance(module, PRODUCERS) or isinstance(module, ATTENTION):
            for macs in products_of(operation(function), args, self._is_weight):
                self._note(product_name(name, self._seen[name]), macs)
                self._seen[name] += 1
        return function(*args, **(kwargs or {}))

    def _is_weight(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage().data_ptr() in self._weights


def operation(function: Any) -> str:
    """The name of an operation of torch without its overload; in place or not."""
    name: str = function._schema.name
    return name.partition("::")[2].rstrip("_")
