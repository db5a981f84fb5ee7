"""Fine-tune a network, with or without penalties."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec
import torch
from torch import nn

from compressor.checkpoints import DataChoice, Metadata, Network
from compressor.codec import decode, encode, metrics_file
from compressor.costs import count_macs, count_parameters
from compressor.data.feeds import Data
from compressor.data.loaders import Loaders
from compressor.data.normalization import Normalization
from compressor.errors import CompressorWarning
from compressor.files import write_bytes
from compressor.groups import ChannelGroup
from compressor.groups.known import KnownGroups
from compressor.loggers import Log
from compressor.progress import Progress
from compressor.records import Metric
from compressor.records.costs import Aims, Costs
from compressor.records.run import Epoch
from compressor.records.stages import FineTuning, Precision, Projection
from compressor.regular_files import read_bytes
from compressor.splitting import Splitting, SplittingConfig
from compressor.splitting.base import SplittingBase
from compressor.stages import GROUPS
from compressor.stages.aim import MEASURED, Runtime, aim, aim_settled
from compressor.stages.jobs import Crew, Job, as_checkpoint, splitting_for
from compressor.stages.samples import check_fit, rehearse
from compressor.stages.trials import settle, tried, untrained_splitting
from compressor.training import train
from compressor.training.batchnorm import reestimate_on
from compressor.training.evaluation import measure
from compressor.training.precision import measured_precision
from compressor.training.recipe import AUTO, OPTIMIZER_TENSORS, Recipe
from compressor.training.settings import settings_fingerprint
from compressor.training.sharding import check_shards
from compressor.training.states import KEPT, State, States
from compressor.training.team import Team, check_together
from compressor.training.views import Views

# In the folder of the states, while the training goes on.
METRICS, AIMS, SETTLED, PRECISION = "metrics.jsonl", "aims.json", "settled.json", "precision.json"

OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned network and its record."""

    network: Network
    record: FineTuning


def fine_tune(
    network: Network,
    data: Data,
    recipe: Recipe,
    penalties: SplittingConfig | None = None,
    *,
    teacher: nn.Module | None = None,
    views: Views | None = None,
    groups: Sequence[ChannelGroup] | None = None,
    states: States | None = None,
    costs: Costs | None = None,
    runtime: Runtime | None = None,
    aims: Aims | None = None,
    before: Metric | None = None,
    crew: Crew | None = None,
    on_epoch: OnEpoch | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> FineTuned:
    """Train a copy of ``network`` on ``data``; with ``penalties``, project it so that zeros are exact.

    Half of the loss comes from the soft labels of ``teacher`` when there is one; with ``views`` it was asked before.
    ``groups`` saves finding them again.
    With ``states`` all that was trained is on disk after every epoch, and a training with the same arguments goes on
    from there; on a CPU, with as many threads, it ends with the same bits as one that was not interrupted.
    Targets in latency and bytes are measured in ``runtime`` first, a latency by ``costs`` where they are given,
    unless ``aims`` say what that found. ``before`` is the metric of ``network``, where it is known. ``log`` gets
    figures of the training as it runs. The processes of a ``crew`` train together.

    `TargetNotMet` is raised before any training when the target cannot be reached, `DataError` when the data do not
    fit the network, `CompressorError` when there is no space for the states, `Diverged` when the training fails.
    """
    check_fit(network, data)
    rehearse(network, data)
    processes = crew.size if crew is not None else 1
    check_together(network.model, recipe, data, processes)
    penalties = penalties or SplittingConfig()
    if crew is not None and crew.in_shards:
        check_shards(network.model, recipe, penalties)
    resumed = None
    if states is not None:
        settings = settings_fingerprint(network, data, recipe, penalties, teacher, groups, views, processes)
        resumed = states.open(settings)
        states.require_space(_space(network.model, recipe))
        if groups is None and penalties.any:
            # Which groups are left out can depend on the clock: a training that goes on must not decide it anew.
            groups = KnownGroups(network, states.folder / GROUPS).kept()
    aims = aims or _aims(network, penalties, groups, costs, runtime, states, progress)
    settled = _kept(states, SETTLED)
    if resumed is not None and settled is not None:
        aims = settled
    model, normalization = copy.deepcopy(network.model), network.metadata.normalization
    example, precision = network.example_input(), _precision(network, data, recipe, states)
    recipe = recipe if precision is None else replace(recipe, precision=precision.chosen)
    splitting = splitting_for(model, example, data, recipe, penalties, groups, aims, processes=processes)
    if resumed is None and isinstance(splitting, Splitting):
        settle(splitting, network.with_model(model), data, penalties.trials or 0, recipe.seed)
        if splitting.selection is not None and splitting.spread is not None:
            # What was measured before an interruption is not measured again, so the same network follows.
            known = aims if settled is None else msgspec.structs.replace(aims, trials=settled.trials)
            aims = aim_settled(network, penalties, splitting.selection, known, runtime=runtime, progress=progress)
            _keep(aims, states, SETTLED)
    # Whatever can fail for this network fails now, and not after the training.
    macs, parameters = count_macs(model, example), count_parameters(model)
    if resumed is not None:
        before = resumed.course.before
    elif before is None:
        before = measure(model, data, "test", normalization)

    def job() -> Job:
        return Job(
            network=as_checkpoint(network),
            recipe=recipe,
            penalties=penalties,
            groups=groups,
            aims=aims,
            teacher=teacher.state_dict() if teacher is not None and views is None else None,
            views=views,
            resumed=resumed,
        )

    together: AbstractContextManager[Team | None] = nullcontext() if crew is None else crew.training(job, data)
    with _recorded(states, resumed, on_epoch) as record_epoch, together as team:
        epochs = train(
            model,
            data,
            recipe,
            normalization=normalization,
            splitting=splitting,
            teacher=copy.deepcopy(teacher) if views is None else None,
            views=views,
            on_epoch=record_epoch,
            log=log,
            progress=progress,
            resumed=resumed,
            keep=partial(states.keep, before, recipe.epochs) if states is not None else None,
            keep_within=partial(states.keep_within, before) if states is not None else None,
            team=team,
        )
    trained = measure(model, data, "test", normalization, outcomes=True)
    projection, projected, reestimated = _projected(model, data, recipe, normalization, splitting, trained)
    record = FineTuning(
        before=before,
        trained=trained,
        projected=projected,
        reestimated=reestimated,
        projection=projection,
        epochs=epochs,
        macs=macs,
        parameters=parameters,
        aims=aims if aims != Aims() else None,
        trials=tried(splitting.spread) if isinstance(splitting, Splitting) else None,
        processes=processes,
        precision=precision,
    )
    return FineTuned(Network(model, _metadata(network.metadata, data, recipe, penalties, record)), record)


def check_target(network: Network, penalties: SplittingConfig, groups: Sequence[ChannelGroup] | None = None) -> None:
    """Raise `TargetNotMet` when no training can reach the targets of ``penalties`` that need no measurement."""
    if any(target.kind not in MEASURED for target in penalties.targets):
        penalties = replace(penalties, target_latency=None, target_size=None, compressed=False)
        untrained_splitting(network, penalties, groups)


def _aims(
    network: Network,
    penalties: SplittingConfig,
    groups: Sequence[ChannelGroup] | None,
    costs: Costs | None,
    runtime: Runtime | None,
    states: States | None,
    progress: Progress | None,
) -> Aims:
    """What was measured for the targets; a training that goes on keeps to what it began with."""
    known = _kept(states, AIMS)
    if known is not None:
        return known
    aims = aim(network, penalties, groups=groups, costs=costs, runtime=runtime, progress=progress)
    _keep(aims, states, AIMS)
    return aims


def _kept(states: States | None, name: str) -> Aims | None:
    known = states.folder / name if states is not None else None
    return decode(read_bytes(known), Aims, str(known)) if known is not None and known.exists() else None


def _keep(aims: Aims, states: States | None, name: str) -> None:
    if states is not None and aims != Aims():
        write_bytes(states.folder / name, encode(aims))


def _precision(network: Network, data: Data, recipe: Recipe, states: States | None) -> Precision | None:
    """What was measured for ``--precision auto``; a training that goes on keeps to what it began with."""
    if recipe.precision != AUTO:
        return None
    known = states.folder / PRECISION if states is not None else None
    if known is not None and known.exists():
        return decode(read_bytes(known), Precision, str(known))
    measured = measured_precision(network.model, data, recipe, network.metadata.normalization)
    if known is not None:
        write_bytes(known, encode(measured))
    return measured


def _space(model: nn.Module, recipe: Recipe) -> int:
    """Bytes of the result and of three states: two are kept while the next is written.

    One that is written within an epoch also has the weights that the epoch began with.
    """
    weights = sum(int(tensor.numel()) * int(tensor.element_size()) for tensor in model.state_dict().values())
    return (1 + (KEPT + 1) * (2 + OPTIMIZER_TENSORS[recipe.optimizer])) * weights


@contextmanager
def _recorded(states: States | None, resumed: State | None, on_epoch: OnEpoch | None) -> Iterator[OnEpoch]:
    """Yield ``on_epoch``, which with ``states`` writes the figures of the epoch into their folder too."""
    known = resumed.course.epochs if resumed is not None else ()
    with metrics_file(states.folder / METRICS, known) if states is not None else nullcontext() as write:

        def record(epoch: Epoch) -> None:
            for told in (write, on_epoch):
                if told is not None:
                    told(epoch)

        yield record


def _projected(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    normalization: Normalization | None,
    splitting: SplittingBase | None,
    trained: Metric,
) -> tuple[Projection | None, Metric | None, Metric | None]:
    """Make zeros exact, then re-estimate BatchNorm; the metric after each, None where it was not done."""
    if splitting is None:
        return None, None, None
    weights = copy.deepcopy(model.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompressorWarning)  # they are in the record
        projection = splitting.project()
    same = all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    projected = trained if same else measure(model, data, "test", normalization, outcomes=True)
    touched = reestimate_on(model, data, normalization, recipe.seed)
    reestimated = measure(model, data, "test", normalization, outcomes=True) if touched else None
    return projection, projected, reestimated


def _metadata(known: Metadata, data: Data, recipe: Recipe, penalties: SplittingConfig, record: FineTuning) -> Metadata:
    settings = vars(penalties) if penalties.any else {}
    measured = {f"test_{record.final.name.replace(' ', '_')}": record.final.value}
    varied = {} if isinstance(data, Loaders) else {"augmentation": str(data.augmentation)}
    figures: dict[str, Any] = {**vars(recipe), **settings, "data": data.ref, **varied, **measured}
    if projection := record.projection:
        figures |= {
            "gap": projection.gap,
            "reached": projection.target.reached if projection.target is not None else None,
            "sparsity": msgspec.to_builtins(projection.sparsity),
        }
    described = known.with_stage("fine-tune", **figures)
    if isinstance(data, Loaders):  # code, which no checkpoint names as its data
        return replace(described, data=None, resize=None)
    choice = DataChoice(ref=data.ref, split_seed=data.split_seed, val_fraction=data.val_fraction)
    return replace(described, data=choice, classes=known.classes or data.classes, resize=data.resize)
