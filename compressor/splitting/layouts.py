"""How parameters may lie on ranks for channels to be found in them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, distributed, nn

from compressor.errors import UsageError
from compressor.shards import flat, sharded, split_dimensions


def refuse_flat(model: nn.Module) -> None:
    """Raise `UsageError` for the first FSDP, which cuts anywhere."""
    if any(flat(parameter) for parameter in model.parameters()):
        raise UsageError(
            "FullyShardedDataParallel puts parameters together and cuts them anywhere, and channels are rows of single "
            "ones; use torch.distributed.fsdp.fully_shard, which keeps rows whole, or DistributedDataParallel"
        )


def check_shards(parameters: Mapping[str, Tensor]) -> None:
    """Raise `UsageError` unless each of ``parameters``, by name, is whole, or all lie in rows on the same ranks."""
    names = [name for name, parameter in parameters.items() if sharded(parameter)]
    if not names:
        return
    layouts = {}
    for name, parameter in parameters.items():
        if not sharded(parameter):
            raise UsageError(
                f"{name} is whole on every rank and {names[0]} lies in shards; call fully_shard on the network itself "
                "too, without ignored_params"
            )
        across = split_dimensions(parameter)
        if len(across) != 1 or not parameter.placements[across[0]].is_shard(0):
            raise UsageError(
                f"{name} is placed as {parameter.placements}, and only rows (dimension 0) of parameters may lie on "
                "other ranks; use fully_shard without shard_placement_fn, and no tensor parallelism"
            )
        layouts[parameter.device_mesh, parameter.placements] = name
    if len(layouts) > 1:
        one, other, *_ = layouts.values()
        raise UsageError(f"{one} and {other} lie on different ranks; call fully_shard with the same mesh for all")
    ((mesh, _),) = layouts
    if mesh.ndim > 1 and mesh.size() != distributed.get_world_size():
        raise UsageError(
            f"the mesh has {mesh.size()} of {distributed.get_world_size()} processes and {mesh.ndim} dimensions; one "
            "with replicas must hold all processes"
        )
