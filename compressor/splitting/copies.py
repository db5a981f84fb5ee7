"""V: a copy of every weight tensor that is the exact prox of a penalty, so that it is never stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from compressor.penalties import Penalty
from compressor.penalties.l1_minus_l2 import L1MinusL2

# Small tensors are handled together, to save calls; large ones one after the other, to stay in the cache.
BATCH = 2**19

Share = float | Mapping[Tensor, float]
"""How far W is pulled: the k of all parameters, or of each; a parameter that is not named stays."""

Prox = Callable[[float], list[Tensor]]
"""V of a batch of weights, for the step lambda/beta."""


class Copies:
    """V = prox of (lambda/beta) r at W, for each of ``weights``, in batches; ``prox_of`` makes the prox of a batch.

    lambda stays fixed while beta grows, so the threshold falls as V and W close up: with a fixed threshold lambda
    would grow without bound, and a convex penalty would shrink every weight to nothing.
    """

    def __init__(self, weights: Sequence[Tensor], prox_of: Callable[[list[Tensor]], Prox], lam: float) -> None:
        self.parameters = list(weights)
        self._batches = [(batch, prox_of(batch)) for batch in _batches(weights)]
        self._lam = lam

    def pull(self, share: Share, beta: float) -> None:
        """W <- W + k (V - W), in place, with the k of each parameter."""
        for batch, prox in self._batches:
            k = share if isinstance(share, float) else [share.get(weight, 0.0) for weight in batch]
            torch._foreach_lerp_(batch, prox(self._lam / beta), k)

    def add_gradient(self, beta: float, scale: float) -> None:
        """Add scale beta (W - V) to the gradient of W."""
        for weight, v in self.targets(beta):
            if weight.grad is not None:
                weight.grad.add_(weight - v, alpha=scale * beta)

    def targets(self, beta: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Every W with its V."""
        for batch, prox in self._batches:
            yield from zip(batch, prox(self._lam / beta), strict=True)

    def gap(self, beta: float) -> tuple[Tensor, Tensor]:
        """Squared norm of what projection would remove, and of everything."""
        lost, all_ = zip(*(_lost(weight.square(), v) for weight, v in self.targets(beta)), strict=True)
        return torch.stack(lost).sum(), torch.stack(all_).sum()

    def take_over(self, beta: float) -> None:
        """W <- V."""
        for weight, v in self.targets(beta):
            weight.copy_(v)

    def project(self, beta: float) -> None:
        """Set W to zero where V is; the other weights stay."""
        for weight, v in self.targets(beta):
            weight.masked_fill_(v == 0, 0.0)


def absolute(prox: Callable[[Tensor, float], Tensor], weights: list[Tensor]) -> Prox:
    """``prox`` of every weight tensor as it is."""
    return lambda step: [prox(weight, step) for weight in weights]


def in_units(penalty: Penalty, weights: list[Tensor]) -> Prox:
    """The prox of every weight tensor measured in units of its RMS now: unit * prox(W / unit, step)."""
    units = [_rms(weight) for weight in weights]
    degree = penalty.degree
    if degree is None:
        return lambda step: [penalty.prox(w / unit, step).mul_(unit) for w, unit in zip(weights, units, strict=True)]
    # r(W / unit) = unit^-degree r(W): the unit goes into the step instead of twice through the tensor.
    scales = [unit ** (2 - degree) for unit in units]
    if isinstance(penalty, L1MinusL2):
        return lambda step: penalty.prox_each(weights, [step * scale for scale in scales])
    return lambda step: [penalty.prox(w, step * scale) for w, scale in zip(weights, scales, strict=True)]


def _rms(weight: Tensor) -> float:
    """Root of the mean square; a tensor of zeros has the smallest positive one."""
    return float(weight.detach().square().mean().sqrt().clamp_min(torch.finfo(weight.dtype).tiny))


def _lost(squared: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return (squared * (v == 0)).sum(), squared.sum()


def _batches(weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    batch: list[Tensor] = []
    for weight in weights:
        if batch and sum(w.numel() for w in batch) + weight.numel() > BATCH:
            yield batch
            batch = []
        batch.append(weight)
    if batch:
        yield batch
