"""Whether what a file says is the state of a training has the form of one: names, kinds and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from compressor.errors import DamagedState

NUMBERS = (bool, int, float)
RATES = ("lr", "initial_lr")


def require_same_form(found: Any, fresh: Any, *, place: str = "", beside: Sequence[str] = ()) -> None:
    """Raise `DamagedState` unless ``found`` could have grown out of ``fresh``, the state of the same training.

    What is None or empty at the beginning is checked where it is used, and so are the entries called in ``beside``.
    """
    if not _is_like(found, fresh):
        raise DamagedState(f"the state of the training is damaged: {place or 'it'} is not what a training keeps there")
    if isinstance(fresh, Mapping):
        for name in fresh.keys() - set(beside):
            if name in found:
                require_same_form(found[name], fresh[name], place=f"{place}.{name}".lstrip("."))
    elif isinstance(fresh, list | tuple) and fresh:
        for number, (inner, value) in enumerate(zip(found, fresh, strict=True)):
            require_same_form(inner, value, place=f"{place}[{number}]")


def _is_like(found: Any, fresh: Any) -> bool:
    match fresh:
        case None:
            return found is None or isinstance(found, list | tuple | Tensor)
        case Mapping():
            return isinstance(found, Mapping) and (not fresh or found.keys() == fresh.keys())
        case list() | tuple():
            return isinstance(found, list | tuple) and (not fresh or len(found) == len(fresh))
        case Tensor():
            return isinstance(found, Tensor) and (found.shape, found.dtype) == (fresh.shape, fresh.dtype)
    return isinstance(found, NUMBERS if isinstance(fresh, NUMBERS) else type(fresh))


def require_optimizer_form(state: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Raise `DamagedState` unless ``state`` is one of this ``optimizer``.

    By parameter it holds numbers, and tensors of its shape or of none; its settings are the optimizer's own, but for
    learning rates, which a training only lowers.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    grown = all(_belongs(entries, place, parameters) for place, entries in state["state"].items())
    pairs = zip(state["param_groups"], optimizer.param_groups, strict=True)
    if not (grown and all(_is_set_like(found, fresh) for found, fresh in pairs)):
        raise DamagedState("the state of the training is damaged: its optimizer is not that of the network")


def require_rates(found: Sequence[float], fresh: Sequence[float | Tensor]) -> None:
    """Raise `DamagedState` where a learning rate is above the one that the training began with, or no number."""
    if not all(0 <= rate <= most for rate, most in zip(found, fresh, strict=True)):
        raise DamagedState("the state of the training is damaged: its learning rates are not those of the training")


def _is_set_like(found: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    rates = {name for name in RATES if name in fresh}
    same = all(found[name] == fresh[name] for name in fresh.keys() - rates - {"params"})
    return same and all(0 <= found[name] <= fresh["initial_lr"] for name in rates)


def _belongs(entries: Any, place: Any, parameters: Sequence[Tensor]) -> bool:
    if not (type(place) is int and 0 <= place < len(parameters) and isinstance(entries, Mapping)):
        return False
    shapes = parameters[place].shape, ()
    return all(value.shape in shapes if isinstance(value, Tensor) else value is None for value in entries.values())
