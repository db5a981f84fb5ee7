"""V: an auxiliary variable for every weight tensor, the exact prox of a penalty, so that it is never stored."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from compressor.penalties import Penalty
from compressor.shards import cut, like, local, sharded, whole

# Small tensors are handled together, to save calls; large ones one after the other, to stay in the cache of a CPU, or
# to take some 100 MB of a GPU at most, where calls cost more.
BATCH = {"cpu": 2**19}
BATCH_ELSEWHERE = 2**23

Prox = Callable[[float], list[Tensor]]
"""V of a batch of weights, of what this rank holds of each, for the step of the prox."""


class AuxiliaryVariables:
    """V = prox at W, for each of ``weights``, in batches; ``prox_of`` makes the prox of a batch."""

    def __init__(self, weights: Sequence[Tensor], prox_of: Callable[[list[Tensor]], Prox]) -> None:
        self._weights, self._prox_of = weights, prox_of
        self._batches: list[tuple[list[Tensor], Prox]] = []
        self._made_for = ""

    def pull(self, share: float | Callable[[Tensor], float], step: float) -> None:
        """W <- W + share (V - W), in place; the share is one for all, or a function of the parameter."""
        for batch, prox in self._in_batches():
            shares = share if isinstance(share, float) else [share(weight) for weight in batch]
            torch._foreach_lerp_([local(weight) for weight in batch], prox(step), shares)

    def targets(self, step: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Every W with its V."""
        for batch, prox in self._in_batches():
            yield from ((weight, like(v, weight)) for weight, v in zip(batch, prox(step), strict=True))

    def _in_batches(self) -> list[tuple[list[Tensor], Prox]]:
        """Made anew where the weights have gone to another kind of device."""
        kind = self._weights[0].device.type if self._weights else ""
        if kind != self._made_for:
            most = BATCH.get(kind, BATCH_ELSEWHERE)
            self._batches = [(batch, self._prox_of(batch)) for batch in _batches(self._weights, most)]
            self._made_for = kind
        return self._batches


def absolute(prox: Callable[[Tensor, float], Tensor], weights: list[Tensor]) -> Prox:
    """``prox`` of every weight tensor as it is."""
    return lambda step: [prox(weight, step) for weight in weights]


def in_units(penalty: Penalty, units: dict[Tensor, float], weights: list[Tensor]) -> Prox:
    """The prox of every weight tensor in its own unit: unit * prox(W / unit, step)."""
    scales = [units[weight] for weight in weights]
    if penalty.separable or not any(sharded(weight) for weight in weights):
        return lambda step: _scaled(penalty, [local(weight) for weight in weights], scales, step)
    # What couples the entries of a tensor needs all of them; no two tensors are whole at a time.
    pairs = list(zip(weights, scales, strict=True))
    return lambda step: [local(cut(_scaled(penalty, [whole(w)], [unit], step)[0], w)) for w, unit in pairs]


def _scaled(penalty: Penalty, weights: list[Tensor], scales: list[float], step: float) -> list[Tensor]:
    degree = penalty.degree
    if degree is None:
        alike = len({(weight.dtype, weight.device) for weight in weights}) == 1
        return (_as_one if penalty.separable and alike else _each)(penalty, weights, scales, step)
    # r(W / unit) = unit^-degree r(W): the unit goes into the step instead of twice through the tensor.
    return penalty.prox_each(weights, [step * unit ** (2 - degree) for unit in scales])


def _as_one(penalty: Penalty, weights: list[Tensor], scales: list[float], step: float) -> list[Tensor]:
    """All entries behind each other: on a GPU the number of calls counts, and a formula for every tensor has many."""
    parts = torch._foreach_div(weights, scales)
    made = penalty.prox(torch.cat([part.flatten() for part in parts]), step)
    sizes = [part.numel() for part in parts]
    found = [part.view(w.shape) for part, w in zip(torch.split(made, sizes), weights, strict=True)]
    torch._foreach_mul_(found, scales)
    return found


def _each(penalty: Penalty, weights: list[Tensor], scales: list[float], step: float) -> list[Tensor]:
    return [penalty.prox(w / unit, step).mul_(unit) for w, unit in zip(weights, scales, strict=True)]


def units_of(weights: Sequence[Tensor]) -> list[float]:
    """The root of the mean square of each weight tensor; tensors of zeros take the median of the others, or 1."""
    # In 16 bits the squares of usual weights overflow or vanish.
    wide = [weight.detach().to(torch.promote_types(weight.dtype, torch.float32)) for weight in weights]
    sizes = [float(weight.square().mean().sqrt()) for weight in wide]
    usual = [size for size in sizes if size > 0]
    return [size or (statistics.median(usual) if usual else 1.0) for size in sizes]


def _batches(weights: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for weight in weights:
        if batch and sum(w.numel() for w in batch) + weight.numel() > most:
            yield batch
            batch = []
        batch.append(weight)
    if batch:
        yield batch
