"""An optimiser goes on with the parameters of the smaller network, and with what it kept of their surviving places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor.channels import ChannelGroup
from compressor.errors import UsageError

# Neither are tensors with places of their own.
WITHOUT_PLACES = ("padding", "count")
Places = Mapping[Tensor, Mapping[int, Set[int]]]


def lost_places(model: nn.Module, groups: Sequence[ChannelGroup], channels: Mapping[str, Sequence[int]]) -> Places:
    """By parameter of ``model`` and by axis, the places that go with these channels, by the name of their group."""
    lost: dict[Tensor, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for group in groups:
        gone = list(channels.get(group.name, ()))
        for member in group.members:
            if gone and member.role not in WITHOUT_PLACES:
                module = model.get_submodule(member.module)
                for name, axis in member.tensors:
                    lost[getattr(module, name)][axis] |= set(member.index[gone].flatten().tolist())
    return lost


def require_optimizer_of(model: nn.Module, optimizer: Optimizer) -> None:
    """Raise `UsageError` unless ``optimizer`` trains parameters of ``model``."""
    held = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    if held.isdisjoint(model.parameters()):
        raise UsageError("the optimizer holds none of the model's parameters; give the one that trained it")


@torch.no_grad()
def carry_over(optimizer: Optimizer, model: nn.Module, small: nn.Module, lost: Places) -> None:
    """Let ``optimizer`` train ``small`` where it trained ``model``, in place.

    Of every tensor that it keeps in the shape of a parameter, as momenta, the ``lost`` places are left out. Parameters
    that are gone leave it; new ones, biases that took up constants, join the group of their weights.
    """
    names, left = {p: name for name, p in model.named_parameters()}, dict(small.named_parameters())
    homes = dict[str, int]()
    for place, group in enumerate(optimizer.param_groups):
        homes |= {names[p]: place for p in group["params"] if p in names}
        group["params"] = [
            successor for p in group["params"] if (successor := left.get(names[p]) if p in names else p) is not None
        ]
    for parameter, name in names.items():
        known = optimizer.state.pop(parameter, None)
        if known is not None and name in left:
            optimizer.state[left[name]] = _cut(known, parameter, left[name], lost.get(parameter, {}))
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in left.items():
        if id(parameter) not in trained and name not in names.values():
            home = homes.get(f"{name.rpartition('.')[0]}.weight", 0)
            optimizer.param_groups[home]["params"].append(parameter)


def _cut(
    known: Mapping[str, Any], parameter: Tensor, successor: Tensor, lost: Mapping[int, Set[int]]
) -> dict[str, Any]:
    """What is kept of ``parameter``, without the ``lost`` places; what then does not fit its successor begins anew."""
    found = {}
    for key, value in known.items():
        if not isinstance(value, Tensor) or value.shape != parameter.shape or not value.ndim:
            found[key] = value
            continue
        for axis, places in lost.items():
            kept = [place for place in range(value.shape[axis]) if place not in places]
            value = value.index_select(axis, torch.tensor(kept, device=value.device))
        found[key] = value if value.shape == successor.shape else torch.zeros_like(successor)
    return found
