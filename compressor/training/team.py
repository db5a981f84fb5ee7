"""The processes of one training: who they are, the device of each, and the process group of torch that joins them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
from torch import distributed, nn
from torch.distributed import Store  # type: ignore[attr-defined]  # torch says so only by running

from compressor.data.feeds import Data
from compressor.data.samples import DataSet
from compressor.data.shares import Share, require_divisible
from compressor.errors import UsageError
from compressor.launcher import Place, note_meeting
from compressor.ranks import Ranks
from compressor.training.recipe import Recipe, pick_device, refuse_half_on_cpu
from compressor.training.sharding import shard

# How long one waits for what the first rank does alone, a whole benchmark for example; who is gone is noticed at once.
WAIT = timedelta(days=365)


@dataclass(frozen=True)
class Team:
    """This process among those that train; made by `join`, by all of them."""

    place: Place
    group: distributed.ProcessGroup = field(repr=False)
    """Of gloo, for what is said on the CPU, whatever the device."""
    in_shards: bool = False
    """Whether each holds a part of the network that is trained, not all of it."""

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, prints and measures."""
        return self.place.rank == 0

    @property
    def ranks(self) -> Ranks:
        """All of them."""
        return Ranks(group=self.group)

    @property
    def share(self) -> Share:
        """What this process takes of the batches."""
        return Share(self.place.rank, self.place.size, self.ranks)

    def say(self, what: Any) -> None:
        """On the first rank: give ``what`` to all others."""
        distributed.broadcast_object_list([what], group=self.group, group_src=0)

    def hear(self) -> Any:
        """On the others: what the first rank gives."""
        held: list[Any] = [None]
        distributed.broadcast_object_list(held, group=self.group, group_src=0, device=torch.device("cpu"))
        return held[0]

    def leave(self) -> None:
        """End the process group; all do."""
        distributed.destroy_process_group()


def join(place: Place, recipe: Recipe, store: Store | None = None, *, in_shards: bool = False) -> Team:
    """Wait until all processes are there; each is on its own device, cuda:LOCAL_RANK or the CPU.

    They meet in ``store`` where it is given, else where the launcher says. ``in_shards`` they train with a part of the
    network each.
    """
    if store is not None:
        backend = "gloo" if pick_device(recipe.device) == "cpu" else "nccl"
        distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.size)
    fabric_of(recipe, place)
    note_meeting()
    return Team(place, distributed.new_group(backend="gloo", timeout=WAIT), in_shards)


def fabric_of(recipe: Recipe, place: Place, *, in_shards: bool = False) -> Fabric:
    """Lightning Fabric for this process, joined with the others: with DDP, or with parameters ``in_shards``."""
    accelerator = pick_device(recipe.device).partition(":")[0]
    # A network may have parameters that take no part in a loss; which buffers count is decided by the first rank.
    whole = DDPStrategy(find_unused_parameters=True)
    parts = ModelParallelStrategy(shard, data_parallel_size=place.size, tensor_parallel_size=1)
    fabric = Fabric(
        accelerator=accelerator,
        devices=place.local_size,
        num_nodes=place.nodes,
        strategy=parts if in_shards else whole,
        plugins=[_Given(place)],
        precision=recipe.arithmetic,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def check_devices(recipe: Recipe, processes: int) -> None:
    """Raise `UsageError` unless this machine has a device for each of so many processes."""
    device = pick_device(recipe.device)
    refuse_half_on_cpu(recipe, device)
    if device == "cpu":
        return
    if ":" in recipe.device:
        raise UsageError(
            f"--device {recipe.device} is one device, and {processes} processes need one each; use --device cuda"
        )
    if processes > (count := torch.cuda.device_count()):
        raise UsageError(
            f"{processes} processes need a GPU each, and {count} {'is' if count == 1 else 'are'} visible; "
            f"start {count}, or use --device cpu"
        )


def check_together(model: nn.Module, recipe: Recipe, data: Data, processes: int) -> None:
    """Raise `UsageError` unless so many processes can train ``model`` and share a batch; a user's are not divided."""
    synchronised = [name for name, module in model.named_modules() if isinstance(module, nn.SyncBatchNorm)]
    if processes > 1 and synchronised:
        raise UsageError(
            f"{synchronised[0]} is a SyncBatchNorm, which waits for all processes also where one of them measures the "
            "network alone; use BatchNorm with several processes"
        )
    if isinstance(data, DataSet):
        require_divisible(min(recipe.batch_size, data.train_samples), processes)


class _Given(ClusterEnvironment):
    """What the launcher said, for Fabric; nobody else of this process, or that it starts, reads it."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return self._place.address

    @property
    def main_port(self) -> int:
        return self._place.port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._place.size

    def set_world_size(self, size: int) -> None:
        assert size == self._place.size

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        # Fabric counts machines, and a launcher may give the ranks in another order.
        pass

    def local_rank(self) -> int:
        return self._place.local_rank

    def node_rank(self) -> int:
        return self._place.rank // self._place.local_size
