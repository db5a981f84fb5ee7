"""The other processes of a training: started here or by ``torchrun``, and what becomes of them.

Only the first one runs the command; what the others do is in `compressor.cli.following`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, TYPE_CHECKING, Any

import click

from compressor.cli.workers import arguments, last_words
from compressor.errors import CompressorError, UsageError, first_line
from compressor.launcher import Place, given_place

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # torch says so only by running

    from compressor.stages.jobs import Crew
    from compressor.training.recipe import Recipe

# The exit code of one that ends because another one is gone.
LEFT = 75
# Seconds: between looks at the others, for one to end that was told to, and for this one to notice a loss by itself.
LOOK_S, PATIENCE_S, GRACE_S = 0.05, 10.0, 20.0
# For each processor that is given.
MOST = 4
HERE = "127.0.0.1"


def processes_of(options: dict[str, Any]) -> int:
    """How many processes train; `UsageError` for what the options and a launcher do not both say."""
    place, devices, nodes = given_place(), options["devices"], options["num_nodes"]
    for name, value in (("--devices", devices), ("--num-nodes", nodes)):
        if value is not None and value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    if place is None:
        if nodes not in {None, 1}:
            raise UsageError(
                f"--num-nodes {nodes} needs torchrun on every machine: torchrun --nnodes {nodes} --nproc-per-node "
                f"{devices or 1} --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m compressor {arguments()[0]} ..., "
                "with all that follows here"
            )
        size = devices or 1
    else:
        for name, value, given in (("devices", devices, place.local_size), ("num-nodes", nodes, place.nodes)):
            if value not in {None, given}:
                what = "processes on each machine" if name == "devices" else "machines"
                raise UsageError(f"--{name} is {value}, and the launcher says {given} {what}; leave --{name} out")
        size = place.size
    if (strategy := options["strategy"]) != "auto" and size == 1:
        raise UsageError(f"--strategy {strategy} needs several processes: --devices, or torchrun")
    return size


def in_shards(options: dict[str, Any]) -> bool:
    """Whether each process holds a part of the network that is trained."""
    return bool(options["strategy"] == "fsdp")


def check_machine(options: dict[str, Any], recipe: Recipe) -> None:
    """Raise `UsageError` where a device is missing."""
    from compressor.benchmarking.environment import allowed_cpus
    from compressor.training.recipe import pick_device
    from compressor.training.team import check_devices

    size, place = processes_of(options), given_place()
    if size == 1:
        recipe.fabric()
        return
    if in_shards(options):
        from compressor.training.sharding import refuse_recipe

        refuse_recipe(recipe, options.get("method"))
    here = size if place is None else place.local_size
    check_devices(recipe, here)
    most = MOST * len(allowed_cpus())
    if pick_device(recipe.device) == "cpu" and here > most:
        raise UsageError(f"--devices must be at most {most} on the processors of this machine, got {here}")


def crew_of(options: dict[str, Any]) -> Crew | None:
    """The processes that train, until the command ends; None for this one alone."""
    from compressor.stages.jobs import Crew

    size, place = processes_of(options), given_place()
    if size == 1:
        return None
    launch = _Started(size) if place is None else _Given(place)
    crew: Crew = click.get_current_context().with_resource(Crew(size, launch, in_shards=in_shards(options)))
    return crew


def ready(rank: int) -> str:
    """What a process that was started here leaves in the store when it has loaded all."""
    return f"ready/{rank}"


def is_loss(error: Exception) -> bool:
    """Whether that is how a process that is gone shows on the others; code of the user's has other connections."""
    # Torch's own kinds are DistError and those derived from it; gloo names its source file.
    return type(error).__name__.startswith("Dist") or bool(re.search(r"gloo/|NCCL|TCPStore|c10d", str(error)))


def expect(crew: Crew | None, recipe: Recipe) -> None:
    """Wait for processes that a launcher has started, which do not wait for this one for ever."""
    if crew is not None and given_place() is not None:
        crew.meet(recipe)


class _Given:
    """Started by a launcher, which ends all when one ends."""

    def __init__(self, place: Place) -> None:
        self._place, self.training = place, False

    def begin(self) -> tuple[Place, Store | None]:
        return self._place, None

    def explain(self, error: Exception) -> CompressorError | None:
        if not is_loss(error):
            return None
        return CompressorError(f"a process of the training has failed or is gone ({first_line(error)})")

    def end(self, *, lost: bool) -> None:
        pass


class _Started:
    """Started here, once they are needed; they end with this process, however that ends."""

    def __init__(self, size: int) -> None:
        self._size, self.training = size, False
        self._stack = contextlib.ExitStack()
        self._words: list[IO[bytes]] = []
        self._others: list[subprocess.Popen[bytes]] = []
        self._ended = threading.Event()

    def begin(self) -> tuple[Place, Store | None]:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        store = TCPStore(HERE, 0, self._size, is_master=True, wait_for_workers=False)
        for rank in range(1, self._size):
            words: IO[bytes] = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115, it is one
            self._words.append(words)
            self._others.append(self._start(self._place(rank, store.port), words))
        while not store.check([ready(rank) for rank in range(1, self._size)]):
            if any(process.poll() is not None for process in self._others):
                raise self._loss()
            time.sleep(LOOK_S)
        threading.Thread(target=self._watch, daemon=True).start()
        return self._place(0, store.port), store

    def explain(self, error: Exception) -> CompressorError | None:
        if isinstance(error, CompressorError) and not is_loss(error):
            return None
        # A connection is gone a little before the process.
        until = time.monotonic() + PATIENCE_S * is_loss(error)
        while time.monotonic() < until and all(process.poll() is None for process in self._others):
            time.sleep(LOOK_S)
        return self._loss() if any(process.poll() is not None for process in self._others) else None

    def end(self, *, lost: bool) -> None:
        self._ended.set()
        until = time.monotonic() + PATIENCE_S * (not lost)
        for process in self._others:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()
        self._stack.close()

    def _place(self, rank: int, port: int) -> Place:
        size = self._size
        return Place(rank=rank, size=size, local_rank=rank, local_size=size, address=HERE, port=port, started=True)

    def _start(self, place: Place, words: IO[bytes]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "compressor", *arguments()]
        known = {**os.environ, **place.environment}
        return subprocess.Popen(command, env=known, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words)

    def _loss(self) -> CompressorError:
        """Of several that have ended the one because of which the others did."""
        ended = [(rank, one.poll()) for rank, one in enumerate(self._others, start=1) if one.poll() is not None]
        rank, code = min(ended, key=lambda pair: pair[1] == LEFT)
        return CompressorError(f"rank {rank} of {self._size} {self._said(rank, code or 0)}")

    def _said(self, rank: int, code: int) -> str:
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}: {last_words(self._words[rank - 1]).removeprefix('Error: ')}"

    def _watch(self) -> None:
        """End this process where it does not notice by itself that another one is gone: a GPU waits for ever."""
        while not self._ended.wait(1.0):
            if self.training and any(process.poll() is not None for process in self._others):
                self._ended.wait(GRACE_S)
                if self.training:
                    click.echo(f"Error: {self._loss()}", err=True)
                    for process in self._others:
                        process.kill()
                    os._exit(1)
                return
