"""Trainings on several processes: the first one sends what it trains, the others train on it until it says so.

Everything else, files, reports and measurements, is the first one's alone, as if there were no others.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol, Self

from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]  # torch says so only by running

from compressor.checkpoints import Network, load, save
from compressor.checkpoints.fingerprints import data_fingerprint, task_fingerprint
from compressor.data.feeds import Data, feed_of
from compressor.data.samples import DataSet, Samples
from compressor.data.variation import Variation
from compressor.equivalence import Inputs
from compressor.errors import CompressorError, Diverged, UsageError
from compressor.files import scratch_folder
from compressor.groups import ChannelGroup
from compressor.launcher import Place
from compressor.ranks import alone
from compressor.records.costs import Aims
from compressor.splitting import SplittingConfig, build_splitting
from compressor.splitting.base import SplittingBase
from compressor.training import train
from compressor.training.recipe import Recipe
from compressor.training.states import State
from compressor.training.team import Team, join
from compressor.training.views import Views

FILE = "network.pt"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training, as it is sent: the checkpoint of the network, and what `fine_tune` makes of its arguments.

    ``teacher`` are the tensors of one that all processes have; ``drawn`` the samples where they are none that all have.
    """

    network: bytes
    recipe: Recipe
    penalties: SplittingConfig
    groups: Sequence[ChannelGroup] | None
    aims: Aims
    teacher: Mapping[str, Tensor] | None
    views: Views | None
    resumed: State | None
    drawn: tuple[Samples, Variation] | None = None


class Launch(Protocol):
    """How the other processes come to be, and what becomes of them; ``training`` while they are needed."""

    training: bool

    def begin(self) -> tuple[Place, Store | None]:
        """Where all meet; in a store that is there, or as the launcher says. `CompressorError` where one is lost."""

    def explain(self, error: Exception) -> CompressorError | None:
        """Which process is lost, where that is why there is an ``error``."""

    def end(self, *, lost: bool) -> None:
        """They have been told to end, or are ``lost``."""


class Crew:
    """The processes that train, as the first of them has them; a training waits for them, and all end with it."""

    def __init__(self, size: int, launch: Launch, *, in_shards: bool = False) -> None:
        self.size, self.in_shards, self._launch = size, in_shards, launch
        self._team: Team | None = None
        self._held: list[str] = []
        self._lost = ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        if self._team is not None and not self._lost:
            self._team.say(None)
        self._launch.end(lost=bool(self._lost))
        if self._team is not None:
            self._team.leave()

    def meet(self, recipe: Recipe) -> Team:
        """Wait until all are there, ``recipe`` says on which devices; `CompressorError` where one is lost."""
        if self._lost:
            raise CompressorError(f"the processes that train have ended: {self._lost}; the same command goes on")
        if self._team is None:
            place, store = self._launch.begin()
            team = join(place, recipe, store, in_shards=self.in_shards)
            _, *self._held = team.ranks.of_each("")
            # What this process does besides training it decides alone.
            self._stack.enter_context(alone())
            self._team = team
        return self._team

    @contextmanager
    def training(self, job: Callable[[], Job], data: Data) -> Iterator[Team]:
        """Inside the block all train ``job`` on ``data``; `CompressorError` where one of them is lost.

        `UsageError` for batches that cannot be divided, or that the others do not have.
        """
        try:
            made = job()
            team = self.meet(made.recipe)
            team.say(self._with_samples(made, data))
            self._launch.training = True
            yield team
        except Diverged:
            raise  # on all of them, which wait for the next job
        except BaseException as error:
            found = self._launch.explain(error) if isinstance(error, Exception) else None
            self._lost = self._lost or str(found or error) or type(error).__name__
            if found is None:
                raise
            raise found from error
        finally:
            self._launch.training = False

    def _with_samples(self, job: Job, data: Data) -> Job:
        if set(self._held) == {held_of(data)}:
            return job
        if isinstance(data, DataSet):
            return replace(job, drawn=(data.train, data.augmentation))
        raise UsageError(f"{data.ref} gives other batches on one process than on another; they must be the same on all")


def held_of(data: Data) -> str:
    """What data are, in a line that two processes can compare."""
    return f"{data_fingerprint(data)} {task_fingerprint(data.task)} {getattr(data, 'augmentation', None)}"


def as_checkpoint(network: Network) -> bytes:
    """The checkpoint file of ``network``."""
    with scratch_folder() as folder:
        save(network, folder / FILE)
        return (folder / FILE).read_bytes()


def splitting_for(
    model: nn.Module,
    example: Inputs,
    data: Data,
    recipe: Recipe,
    penalties: SplittingConfig,
    groups: Sequence[ChannelGroup] | None,
    aims: Aims,
    *,
    processes: int = 1,
) -> SplittingBase | None:
    """The splitting of a training by so many processes; None where nothing is penalised."""
    if not penalties.any:
        return None
    steps = recipe.epoch_steps(feed_of(data, None).count(recipe.batch_size, processes))
    return build_splitting(
        model,
        example,
        penalties,
        total_steps=recipe.epochs * steps,
        epoch_steps=steps,
        samples=data.train_samples,
        groups=groups,
        aims=aims,
        seed=recipe.seed,
    )


def serve(team: Team, network: Network, data: Data, teacher: nn.Module | None) -> None:
    """On all processes but the first: train what it sends until it has no more.

    ``network`` has the architecture of all that it sends, ``teacher`` that of the teacher.
    """
    team.ranks.of_each(held_of(data))
    with alone():
        while (job := team.hear()) is not None:
            with suppress(Diverged):
                _work(team, job, network, data, teacher)
    team.leave()


def _work(team: Team, job: Job, network: Network, data: Data, teacher: nn.Module | None) -> None:
    with scratch_folder() as folder:
        (folder / FILE).write_bytes(job.network)
        own = load(folder / FILE, trusted=network.metadata.architecture)
    if job.drawn is not None and isinstance(data, DataSet):
        data = replace(data, train=job.drawn[0], augmentation=job.drawn[1])
    if teacher is not None and job.teacher is not None:
        teacher.load_state_dict(job.teacher)
    processes = team.place.size
    train(
        own.model,
        data,
        job.recipe,
        normalization=own.metadata.normalization,
        splitting=splitting_for(
            own.model, own.example_input(), data, job.recipe, job.penalties, job.groups, job.aims, processes=processes
        ),
        teacher=copy.deepcopy(teacher) if job.teacher is not None else None,
        views=job.views,
        resumed=job.resumed,
        team=team,
    )
