"""One layer while it is fitted: what it shall make is noted, what it reads is added up, and its weights follow."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compressor.errors import UsageError
from compressor.reconstruction.gram import Gram
from compressor.reconstruction.norms import restate
from compressor.reconstruction.readers import Reader
from compressor.reconstruction.rows import Layer, outputs_of, positions_in, rows_of, weight_of
from compressor.reconstruction.solve import bias_of, output_moments, residual, ridge_solution
from compressor.records.prune import LayerFit

# The ridge relative to the mean square of what a layer reads, and how many rows of a layer are counted at most.
RIDGE, ROWS = 1e-3, 2**15


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How layers are fitted: by which ``ridge``, on about so many ``rows`` of each at most, drawn by ``seed``."""

    ridge: float = RIDGE
    rows: int = ROWS
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.ridge < float("inf"):
            raise UsageError(f"the ridge must be a positive number, got {self.ridge:g}")
        if self.rows < 1:
            raise UsageError(f"a layer needs at least 1 row, got {self.rows}")


class Fitting:
    """A layer of a network without some channels, which reads so many ``batches`` before it is fitted.

    Where a BatchNorm follows directly, the mean is left to that, and its statistics follow the new outputs.
    Else the mean is left to the layer's own bias, and without one the weights make it.
    """

    def __init__(self, reader: Reader, small: nn.Module, batches: int, fit: Fit) -> None:
        self.reader, self._fit = reader, fit
        self._layer: Layer = small.get_submodule(reader.name)  # type: ignore[assignment]
        self._norm = None if reader.norm is None else small.get_submodule(reader.norm)
        self._reads = self._left = batches * reader.calls
        self._gram: Gram | None = None
        self._generator = torch.Generator().manual_seed(fit.seed)
        self._wanted: deque[tuple[Tensor, Tensor]] = deque()

    @property
    def read_all(self) -> bool:
        """Whether there is nothing more to read."""
        return self._left == 0

    def want(self, given: Tensor, made: Tensor) -> None:
        """Note some rows of what the dense layer ``made``, those that `read` will look at in the same order."""
        drawn = torch.randperm(positions_in(self._layer, made), generator=self._generator)
        positions = drawn[: max(1, self._fit.rows // (self._reads * len(made)))].to(made.device)
        self._wanted.append((positions, outputs_of(self._layer, made, positions, self.reader.kept)))

    def read(self, given: Tensor) -> None:
        """Add up what the layer is ``given``, beside what it shall make of that."""
        positions, wanted = self._wanted.popleft()
        rows = rows_of(self._layer, given, positions)
        if self._gram is None:
            self._gram = Gram(len(rows), rows.shape[2], wanted.shape[2])
        self._gram.add(rows, wanted)
        self._left -= 1

    def solve(self) -> LayerFit:
        """Give the layer its new weights."""
        layer, norm, bias = self._layer, self._norm, self._layer.bias
        assert self._gram is not None
        moments, rows = self._gram.moments(centred=bias is not None or norm is not None), self._gram.rows
        self._gram, old = None, weight_of(layer)
        weight = ridge_solution(moments, old, self._fit.ridge)
        old_bias = None if bias is None or norm is not None else bias.double().cpu().view(old.shape[:2])
        fitted = LayerFit(
            layer=self.reader.name,
            rows=rows,
            before=residual(moments, old, old_bias),
            after=residual(moments, weight),
        )
        layer.weight.copy_(weight.reshape(layer.weight.shape))
        if bias is not None:
            bias.copy_(bias_of(moments, weight).flatten())
        if norm is not None:
            wanted, (mean, variance) = moments.y.flatten(), output_moments(moments, weight)
            restate(norm, (wanted, moments.yy.flatten()), (mean if bias is None else wanted, variance))
        return fitted
