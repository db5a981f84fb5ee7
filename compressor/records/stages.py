"""What each stage found: the same record from the Python API, from its command and in the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compressor.records import Metric, Record, Sparsity
from compressor.records.benchmark import UnalignedLayer
from compressor.records.costs import Aims
from compressor.records.run import Epoch, LayerChange, Removal, Target

Pair = tuple[int, int]


class Evaluation(Record, frozen=True, kw_only=True):
    """How well a network does on one part (train, val or test) of a data set."""

    data: str
    part: str
    metric: Metric
    others: tuple[Metric, ...] = ()
    """What the task measures beside the metric that counts."""


class Projection(Record, frozen=True, kw_only=True):
    """What projection did; costs are (dense, kept) pairs, None where no channel can go."""

    gap: float
    """|W - P(W)| / |W| just before."""
    entries_zeroed: int
    died: int = 0
    """Channels that no target dropped: the penalty emptied them."""
    zeros: float | None = None
    """Share of zeros among the penalised weights that are left without the zero channels."""
    sparsity: Mapping[str, Sparsity]
    """Zeros of W and V just before."""
    channels: Mapping[str, Pair]
    """Channels before and after, by group."""
    macs: Pair | None
    parameters: Pair | None
    target: Target | None
    """That of the targets which binds most."""
    targets: tuple[Target, ...] = ()
    optimality: float | None = None
    """What the channels that stay are worth, as a share of what no choice within the targets can exceed."""
    warnings: tuple[str, ...] = ()
    """What a reader must know before trusting the result: a gap that projection pays for, a training cut short."""

    @property
    def kept(self) -> dict[str, int]:
        """Channels that stay, by group."""
        return {name: after for name, (_, after) in self.channels.items()}

    @property
    def reached(self) -> float | None:
        """The share of the dense cost that is left, in the target's own units; None without a target."""
        return None if self.target is None else self.target.reached

    @property
    def met(self) -> bool:
        """Whether the target was met; True without one."""
        return self.target is None or self.target.met

    @property
    def channels_total(self) -> int:
        """Number of channels in all prunable groups."""
        return sum(before for before, _ in self.channels.values())

    @property
    def channels_zeroed(self) -> int:
        """How many of them removal will take away."""
        return sum(before - after for before, after in self.channels.values())


class Tried(Record, frozen=True, kw_only=True):
    """So many ``networks`` with the channels spread over the layers in other ways, and what they lose.

    The mean divergence of their outputs from those of the dense network, after least squares and without training: of
    the ``first``, which the saliency alone chooses, and of the ``best``; None where it makes no numbers.
    """

    networks: int
    first: float | None
    best: float

    def __str__(self) -> str:
        """For people."""
        first = "are no numbers" if self.first is None else f"by {self.first:.3g}"
        return (
            f"Best of {self.networks} ways to spread the channels over the layers that were tried without training: "
            f"its outputs diverge by {self.best:.3g}, those of the first {first}."
        )


class Precision(Record, frozen=True, kw_only=True):
    """In which precision a training computed; a step in the one ``tried`` takes ``ratio`` of the time of one in 32."""

    chosen: str
    tried: str
    ratio: float

    def __str__(self) -> str:
        """For people."""
        return f"Computed in {self.chosen}: a step in {self.tried} takes {self.ratio:.2f} of the time of a step in 32."


class FineTuning(Record, frozen=True, kw_only=True):
    """A training with or without penalties; metrics are on the test part, costs those of the network as it is.

    Without penalties nothing is ``projected``; without BatchNorm nothing is ``reestimated``.
    """

    before: Metric
    trained: Metric
    projected: Metric | None
    reestimated: Metric | None
    projection: Projection | None
    epochs: tuple[Epoch, ...]
    macs: int
    parameters: int
    aims: Aims | None = None
    """What was measured for targets in latency and bytes."""
    trials: Tried | None = None
    """How the channels were spread over the layers; None where the saliency alone decided."""
    processes: int = 1
    """How many trained it together, in the end."""
    precision: Precision | None = None
    """What was measured for ``--precision auto``."""

    @property
    def final(self) -> Metric:
        """The metric of the network that came out."""
        return self.reestimated or self.projected or self.trained

    @property
    def target(self) -> Target | None:
        """The target of the penalties, if there was one."""
        return self.projection.target if self.projection is not None else None

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets of the penalties."""
        return self.projection.targets if self.projection is not None else ()

    @property
    def undone(self) -> tuple[int, ...]:
        """Numbers of the epochs that diverged and were undone."""
        return tuple(epoch.epoch for epoch in self.epochs if epoch.lr_halved)


class Shrinking(Record, frozen=True, kw_only=True):
    """What was removed, and what that saved: channels by group, MACs and parameters as (before, after) pairs."""

    removal: Removal
    channels: Mapping[str, Pair]
    macs: Pair
    parameters: Pair
    layers: tuple[LayerChange, ...]


class Prediction(Record, frozen=True, kw_only=True):
    """What fine-tuning would keep for a target by the weights as they are; None where it is out of reach."""

    target: float
    macs: int | None
    parameters: int | None
    channels: Mapping[str, int] | None


class FrozenModule(Record, frozen=True, kw_only=True):
    """A module that holds parameters which are not trained, and how many numbers these are."""

    module: str
    parameters: int


class UnevenWidth(Record, frozen=True, kw_only=True):
    """A layer whose number of channels is no whole ``step`` of the alignment."""

    layer: str
    channels: int
    step: int


class Change(Record, frozen=True, kw_only=True):
    """A change to the network that would let ``groups`` go, and the MACs that they carry together."""

    change: str
    groups: tuple[str, ...]
    macs: int


class GroupReport(Record, frozen=True, kw_only=True):
    """A channel group: what would go with all its channels, why it cannot, and what would let it.

    Groups with the same ``tie`` always lose equally many channels; those of the same ``branch``, the block that is
    called after its first group, may lose all of them, together.
    """

    name: str
    channels: int
    macs: int
    parameters: int
    members: tuple[str, ...]
    excluded: str | None
    advice: str | None
    tie: str | None = None
    branch: str | None = None


class ControlFlowReport(Record, frozen=True, kw_only=True):
    """What one run of a network does not show.

    ``decides`` says by module which line decides by values, ``random`` which modules draw random numbers, and ``idle``
    which ones with parameters of their own never ran, nor do in training.
    """

    decides: Mapping[str, str]
    random: tuple[str, ...]
    idle: tuple[str, ...]


class Inspection(Record, frozen=True, kw_only=True):
    """What a network is, what can be removed from it, and what stands in the way.

    ``least_...`` are the costs of the smallest aligned network, None when nothing can be removed; ``..._with_changes``
    when all ``changes`` are made, None when there are none. ``inputs`` describes each example that was followed, where
    it is not one random tensor of ``input_shape``; ``outputs`` are those that count, where not all do. ``resize`` is
    how images of other sizes were brought to ``input_shape``. ``off_fast_path`` are the groups whose widths this
    machine's processor does not reward, each with its name.
    """

    architecture: str
    input_shape: tuple[int, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    normalization: str | None
    classes: tuple[str, ...] | None
    data: str | None
    resize: str | None = None
    history: tuple[Mapping[str, Any], ...]
    macs: int
    parameters: int
    zero_channels: int
    least_macs: int | None
    least_parameters: int | None
    least_macs_with_changes: int | None
    predictions: tuple[Prediction, ...]
    frozen: tuple[FrozenModule, ...]
    unaligned: tuple[UnevenWidth, ...]
    changes: tuple[Change, ...]
    groups: tuple[GroupReport, ...]
    control_flow: ControlFlowReport | None = None
    off_fast_path: tuple[UnalignedLayer, ...] = ()
