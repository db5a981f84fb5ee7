"""What pruning without training did to a network, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping

from compressor.records import Metric, Record
from compressor.records.costs import Aims
from compressor.records.run import LayerChange, Target
from compressor.records.stages import Pair, Tried


class LayerFit(Record, frozen=True, kw_only=True):
    """How well a layer makes what it made in the dense network, of the inputs that it gets now.

    ``before`` and ``after`` its weights were fitted on so many ``rows``: the mean squared error as a share of the
    variance of what it shall make, of the mean square where neither bias nor BatchNorm takes the mean.
    """

    layer: str
    rows: int
    before: float
    after: float


class Likeness(Record, frozen=True, kw_only=True):
    """A pruned network beside the dense one, on the test part.

    ``change`` is the norm of the difference of the outputs relative to the norm of the dense ones; ``agreement`` the
    share of the samples that both put into the same class, None where there are no classes. There is no metric without
    a task.
    """

    metric: Metric | None
    change: float
    agreement: float | None


class Pruning(Record, frozen=True, kw_only=True):
    """A network that lost channels without training; pairs are (dense, pruned).

    ``removed`` is without the channels, with BatchNorm re-estimated, ``fitted`` with its layers fitted too. ``left``
    says of layers that read removed channels why they were not fitted.
    """

    data: str
    samples: int
    channels: Mapping[str, Pair]
    macs: Pair
    parameters: Pair
    targets: tuple[Target, ...]
    trials: Tried | None = None
    """How the channels were spread over the layers; None where the saliency alone decided."""
    layers: tuple[LayerChange, ...]
    dense: Metric | None
    removed: Likeness
    fitted: Likeness
    fits: tuple[LayerFit, ...]
    left: Mapping[str, str]
    aims: Aims | None = None
    """What was measured for targets in latency and bytes."""
