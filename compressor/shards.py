"""Parameters of which every rank holds some rows, as `torch.distributed.fsdp.fully_shard` leaves them: `DTensor`s.

All that is here takes plain tensors too, which are whole and the same on every rank. What says that ranks exchange
something must be asked for by every rank, in the same order.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor, distributed, nn

from compressor.errors import UsageError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

GATHER = (
    "gather it first: get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True)), "
    "and load that into an unsharded one"
)


def sharded(tensor: object) -> TypeGuard[DTensor]:
    """Whether a rank may hold only a part of it."""
    return _is_a(tensor, "torch.distributed.tensor", "DTensor")


def flat(tensor: object) -> bool:
    """Whether it is a piece of several parameters in one, or of one of those, as the first FSDP makes them."""
    return getattr(tensor, "_fsdp_flattened", False) is True


def any_sharded(model: nn.Module) -> bool:
    """Whether ranks hold only parts of parameters of ``model``, also while a forward pass has left whole ones there."""
    return bool(_units(model)) or any(sharded(parameter) or flat(parameter) for parameter in model.parameters())


def refuse_shards(model: nn.Module, instead: str = GATHER) -> None:
    """Raise `UsageError` where ranks hold only parts of parameters; ``instead`` says what to do."""
    if any_sharded(model):
        raise UsageError(f"the network lies in shards, of which every rank holds a part (FSDP); {instead}")


def split_dimensions(tensor: DTensor) -> list[int]:
    """The dimensions of the mesh along which ranks hold different parts; along others they are replicas."""
    return [place for place, placement in enumerate(tensor.placements) if not placement.is_replicate()]


def mesh_group(model: nn.Module) -> ProcessGroup | None:
    """The processes that hold the parameters of ``model``, where they lie in shards."""
    reshard(model)
    first = next((parameter for parameter in model.parameters() if sharded(parameter)), None)
    if first is None:
        return None
    mesh = first.device_mesh
    return mesh.get_group(0) if mesh.ndim == 1 else distributed.group.WORLD


def reshard(model: nn.Module) -> None:
    """Let modules hold their shards, not the whole parameters that a forward pass has left in them."""
    for unit in _units(model):
        unit.reshard()


def local(tensor: Tensor) -> Tensor:
    """The rows that this rank holds, in the same memory."""
    if not sharded(tensor):
        return tensor
    # Where no gradient is recorded that is the tensor itself that is held.
    with torch.no_grad():
        held: Tensor = tensor.to_local()
    return held


def rows(tensor: Tensor) -> slice:
    """Which rows of dimension 0 this rank holds; there may be none."""
    if not sharded(tensor):
        return slice(0, len(tensor))
    ranks, own = _ranks(tensor)
    each = -(-len(tensor) // ranks)
    start = min(own * each, len(tensor))
    return slice(start, min(start + each, len(tensor)))


def along(vector: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """Of ``vector``, with an entry for every place of ``tensor`` on ``axis``, those of the places held here."""
    return vector[rows(tensor)] if axis == 0 else vector


def places_here(places: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """Where ``places`` on ``axis`` of ``tensor`` are in what this rank holds of it; those that are elsewhere left out.

    They lie on the device of the tensor.
    """
    places = places.to(tensor.device)
    if axis != 0 or not sharded(tensor):
        return places
    first, end = rows(tensor).start, rows(tensor).stop
    return places[(places >= first) & (places < end)].sub_(first)


def in_rows(sums: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """What was found for each place on ``axis`` of the `local` part, with zeros for the places of other ranks."""
    if axis != 0 or not sharded(tensor):
        return sums
    every = sums.new_zeros(len(tensor))
    every[rows(tensor)] = sums
    return every


def like(part: Tensor, tensor: Tensor) -> Tensor:
    """``part``, of the shape of the `local` part of ``tensor``, as one that lies in shards as that does."""
    if not sharded(tensor):
        return part
    from torch.distributed.tensor import DTensor

    mesh, placements = tensor.device_mesh, tensor.placements
    made: Tensor = DTensor.from_local(
        part, mesh, placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )
    return made


def cut(every: Tensor, tensor: Tensor) -> Tensor:
    """``every``, a whole tensor of the shape of ``tensor``, as one that lies in shards as that does."""
    return like(every[rows(tensor)].clone(), tensor) if sharded(tensor) else every


@torch.no_grad()
def fill(tensor: Tensor, source: Tensor) -> None:
    """Copy ``source``, which is whole or lies as ``tensor`` does, into that."""
    local(tensor).copy_(local(source) if sharded(source) else source[rows(tensor)] if sharded(tensor) else source)


def whole(tensor: Tensor) -> Tensor:
    """All rows of it, on every rank; the ranks exchange them."""
    if not sharded(tensor):
        return tensor
    # What is offloaded to the host may have no way to other ranks from there.
    moved = tensor.detach().to(tensor.device_mesh.device_type)
    assert sharded(moved)
    every: Tensor = moved.full_tensor()
    return every


def summed(parts: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The sums over the ranks of ``parts``, what each has found in its `local` part of ``tensors``, in one exchange.

    What was found in a whole tensor is known everywhere.
    """
    found = list(parts)
    places = [place for place, tensor in enumerate(tensors) if sharded(tensor)]
    if places:
        first = tensors[places[0]]
        assert sharded(first)
        vector = torch.cat([parts[place].flatten() for place in places]).to(first.device_mesh.device_type)
        distributed.all_reduce(vector, group=first.device_mesh.get_group(_dimension(first)))
        pieces = torch.split(vector, [parts[place].numel() for place in places])
        for place, piece in zip(places, pieces, strict=True):
            found[place] = piece.view_as(parts[place]).to(parts[place].device)
    return found


def before_here(counts: Tensor, tensor: Tensor) -> Tensor:
    """How many lie before those that this rank holds, in the order of entries, then ranks: the shape of ``counts``.

    ``counts`` (n,) is how many this rank holds of n things that lie in shards as ``tensor``, or are whole.
    """
    ranks, own = _ranks(tensor) if sharded(tensor) else (1, 0)
    every = counts.new_zeros(len(counts), ranks)
    every[:, own] = counts
    every = summed([every], [tensor])[0]
    return (every.flatten().cumsum(0).view_as(every) - every)[:, own]


def _ranks(tensor: DTensor) -> tuple[int, int]:
    """Over how many ranks the rows are spread, and which of them this is."""
    dimension = _dimension(tensor)
    return tensor.device_mesh.size(dimension), tensor.device_mesh.get_local_rank(dimension)


def _dimension(tensor: DTensor) -> int:
    return split_dimensions(tensor)[0]


def _units(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if _is_unit(module)]


def _is_unit(module: nn.Module) -> TypeGuard[FSDPModule]:
    return _is_a(module, "torch.distributed.fsdp", "FSDPModule")


def _is_a(thing: object, module: str, name: str) -> bool:
    # Whoever has made one has imported its class.
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(thing, kind)
