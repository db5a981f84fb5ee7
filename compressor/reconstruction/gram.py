"""Sums of what a layer reads and of what it shall make, from which its weights follow in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """Mean products of inputs x and wanted outputs y of a layer in ``groups`` independent parts, float64.

    ``xx`` (groups, features, features), ``yx`` (groups, outputs, features), ``yy`` (groups, outputs): of each output
    with itself only. Centred ones are covariances; then ``x`` (groups, features) and ``y`` (groups, outputs) are the
    means, else zeros.
    """

    xx: Tensor
    yx: Tensor
    yy: Tensor
    x: Tensor
    y: Tensor


class Gram:
    """Adds up, in float64, what is needed to fit a layer; the size does not grow with the number of rows."""

    def __init__(self, groups: int, features: int, outputs: int) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(groups, *shape, dtype=torch.float64)

        self.rows = 0
        self._xx, self._yx, self._yy = zeros(features, features), zeros(outputs, features), zeros(outputs)
        self._x, self._y = zeros(features), zeros(outputs)

    @staticmethod
    def bytes_for(groups: int, features: int, outputs: int) -> int:
        """What fitting takes at most at once: the sums, their centred copy, the factor and the weights."""
        return 8 * groups * features * (4 * features + 4 * outputs)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Count rows of inputs (groups, rows, features) and of wanted outputs (groups, rows, outputs)."""
        x, y = x.double().cpu(), y.double().cpu()
        self.rows += x.shape[1]
        self._xx += x.mT @ x
        self._yx += y.mT @ x
        self._yy += y.square().sum(1)
        self._x += x.sum(1)
        self._y += y.sum(1)

    def moments(self, *, centred: bool) -> Moments:
        """The means of all products so far, less the products of the means where they are ``centred``."""
        xx, yx, yy, x, y = (total / self.rows for total in (self._xx, self._yx, self._yy, self._x, self._y))
        if not centred:
            return Moments(xx, yx, yy, torch.zeros_like(x), torch.zeros_like(y))
        return Moments(
            xx - x[:, :, None] * x[:, None], yx - y[:, :, None] * x[:, None], (yy - y.square()).clamp_min(0), x, y
        )
