"""A network that is trained in shards, of which every rank holds a part, beside the whole one that it is a copy of."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.optim import Optimizer

from compressor.errors import UsageError
from compressor.methods import method
from compressor.shards import cut, reshard, sharded, whole
from compressor.splitting.base import SplittingBase
from compressor.splitting.config import SplittingConfig
from compressor.structures import mapped
from compressor.training.averaging import WeightAverage
from compressor.training.precision import lower_precision
from compressor.training.recipe import AUTO, Recipe

# Parameters of a block that are worth an exchange of their own.
LEAST = 2**14
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Sharded:
    """A copy of ``network`` and of its ``splitting`` to be sharded and trained; both stay whole, on the CPU.

    What says that parts are brought together is to be called by all ranks; the ``first`` one has them then.
    """

    def __init__(self, network: nn.Module, splitting: SplittingBase | None, *, first: bool) -> None:
        self.network, self._splitting, self._first = network, splitting, first
        self.model, self.splitting = copy.deepcopy((network, splitting))
        self.model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def gathered(self, state: Any) -> Any:
        """``state`` with whole tensors on the CPU, as one process would have it; on other ranks without those."""

        def part(tensor: Tensor) -> Tensor:
            every = whole(tensor) if sharded(tensor) else tensor
            return every.cpu() if self._first else every.new_empty(0)

        return mapped(state, part)

    @torch.no_grad()
    def bring_together(self) -> None:
        """Give the first rank's whole network the weights and buffers that are trained."""
        reshard(self.model)
        state = self.gathered(self.model.state_dict())
        if self._first:
            self.network.load_state_dict(state)
            for name, buffer in other_buffers(self.model).items():
                set_buffer(self.network, name, buffer.cpu())

    def shipped(self, average: WeightAverage | None) -> None:
        """`bring_together` what would be shipped now: the ``average``, projected."""
        with (
            average.shown() if average is not None else nullcontext(),
            self.splitting.zeroed() if self.splitting is not None else nullcontext(),
        ):
            self.bring_together()

    def end(self) -> None:
        """`bring_together`, after which the whole splitting is where the trained one is."""
        self.bring_together()
        if self.splitting is not None and self._splitting is not None:
            state = self.splitting.state_dict()
            self._splitting.load_state_dict(self.gathered(state) if self._first else state)

    @torch.no_grad()
    def share_buffers(self) -> None:
        """Take over the buffers of the first rank, as DistributedDataParallel does before each pass."""
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for buffer in self.model.buffers():
            kinds.setdefault(buffer.dtype, []).append(buffer)
        for buffers in kinds.values():
            every = torch.cat([buffer.flatten() for buffer in buffers])
            distributed.broadcast(every, 0)
            parts = torch.split(every, [buffer.numel() for buffer in buffers])
            for buffer, part in zip(buffers, parts, strict=True):
                buffer.copy_(part.view_as(buffer))


def shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Put the parameters of ``model`` in shards, each of its blocks and then what is left; for Fabric."""
    from torch.distributed.fsdp import fully_shard

    ranks = mesh["data_parallel"]
    for block in blocks(model):
        fully_shard(block, mesh=ranks)
    fully_shard(model, mesh=ranks)
    return model


def blocks(model: nn.Module) -> list[nn.Module]:
    """What is gathered and let go of by itself in a pass: the outermost modules that a container holds.

    Those that have enough parameters, and share none with the rest of the network; a container calls what it holds,
    while another module may read the parameters of its parts without calling them.
    """
    return [block for block in _held(model) if _alone(block, model)]


def _held(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if sum(parameter.numel() for parameter in child.parameters()) < LEAST:
            continue
        if isinstance(module, CONTAINERS) and not isinstance(child, CONTAINERS):
            yield child
        else:
            yield from _held(child)


def _alone(block: nn.Module, model: nn.Module) -> bool:
    own, inside = set(block.parameters()), set(block.modules())
    others = (module for module in model.modules() if module not in inside)
    return not any(parameter in own for module in others for parameter in module.parameters(recurse=False))


def cut_as(state: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a whole ``state`` as those of the same names lie in ``fresh``."""
    return {name: _cut(value, fresh[name]) for name, value in state.items()}


def cut_optimizer(state: Mapping[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The whole ``state`` of an ``optimizer`` of parameters in shards as it lies there."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = {
        place: {name: _cut(value, parameters[place]) for name, value in entries.items()}
        for place, entries in state["state"].items()
    }
    return {**state, "state": found}


def _cut(value: Any, like: Any) -> Any:
    if not (isinstance(value, Tensor) and sharded(like)) or sharded(value) or value.shape != like.shape:
        return value
    return cut(value.to(like.device), like)


def other_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that no state of ``model`` has."""
    names = model.state_dict()
    return {name: buffer for name, buffer in model.named_buffers() if name not in names}


def set_buffer(model: nn.Module, name: str, buffer: Tensor) -> None:
    """Put ``buffer`` in the place of that of ``model``, which may have another shape."""
    owner, _, own = name.rpartition(".")
    setattr(model.get_submodule(owner), own, buffer)


def refuse_recipe(recipe: Recipe, named: str | None = None) -> None:
    """Raise `UsageError` for what does not go together with shards: in ``recipe``, or the method ``named``."""
    if recipe.compile:
        raise UsageError("--compile is not there with --strategy fsdp; leave it out, or use --strategy ddp")
    if recipe.precision == "16" or (recipe.precision == AUTO and lower_precision(recipe) == "16"):
        raise UsageError(
            f"--precision {recipe.precision} scales the loss, which --strategy fsdp does not; use bf16 or 32, or "
            "--strategy ddp"
        )
    if named is not None and not method(named).target:
        raise UsageError(f"--method {named} needs whole weights: use --strategy ddp, or --method budget")


def refuse_network(model: nn.Module) -> None:
    """Raise `UsageError` for a parameter that has no rows."""
    if (name := next((name for name, value in model.named_parameters() if value.ndim == 0), None)) is not None:
        raise UsageError(
            f"{name} is a single number, of which --strategy fsdp gives no part to each process; make it a tensor of "
            "shape (1,), or use --strategy ddp"
        )


def check_shards(model: nn.Module, recipe: Recipe, penalties: SplittingConfig | None = None) -> None:
    """Raise `UsageError` unless ``model`` can be trained so in shards."""
    refuse_recipe(recipe, penalties.method if penalties is not None and penalties.any else None)
    refuse_network(model)
