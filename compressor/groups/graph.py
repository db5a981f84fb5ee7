"""Torch-Pruning's dependency graph: proposes which channels belong together, and removes them.

Fang et al., "DepGraph: Towards any structural pruning", CVPR 2023.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn

from compressor.groups.channels import ChannelGroup, Member, Role

PRODUCERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class DependencyGraph:
    """The dependency graph of a copy of ``model``; `remove` shrinks that copy, ``self.model``."""

    def __init__(self, model: nn.Module, example_input: Tensor) -> None:
        self.model = copy.deepcopy(model).eval()
        self._frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        # The graph is traced through autograd, where frozen parameters would be invisible.
        self.model.requires_grad_(True)
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            example = example_input.to(next(self.model.parameters()))
            self._graph = tp.DependencyGraph().build_dependency(self.model, example, verbose=False)
        self._names = {module: name for name, module in self.model.named_modules()}
        self._parameters = {parameter: name for name, parameter in self.model.named_parameters()}
        self._freeze()

    def groups(self) -> tuple[ChannelGroup, ...]:
        """Every group of coupled channels in the order of the modules, not yet probed."""
        found = self._graph.get_all_groups(root_module_types=list(PRODUCERS))
        groups = [self._group(group) for group in found]
        order = {name: place for place, (name, _) in enumerate(self.model.named_modules())}
        return tuple(sorted(groups, key=lambda group: order[group.name]))

    def remove(self, channels: Mapping[str, Sequence[int]]) -> None:
        """Remove channels of groups, by the group's name, from ``self.model``."""
        for name, places in channels.items():
            root = self.model.get_submodule(name)
            pruner = self._graph.get_pruner_of_module(root)
            if len(places):
                self._graph.get_pruning_group(root, pruner.prune_out_channels, list(places)).prune()
        self._freeze()

    def _freeze(self) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in self._frozen)

    def _group(self, proposed: Any) -> ChannelGroup:
        items = [item for item in proposed.items if item.dep.target.module in self._names]
        root = self._names[items[0].dep.target.module]
        channels = len(items[0].idxs)
        members, problems = [], []
        for item in items:
            try:
                members.append(self._member(item, channels))
            except ValueError as problem:
                problems.append(str(problem))
        targets = [item.dep.target.module for item in proposed.items]
        foreign = [self._parameters[target] for target in targets if isinstance(target, nn.Parameter)]
        problems += [f"it includes the bare parameter {name}, which is not handled" for name in foreign]
        if not any(member.role == "consumer" for member in members):
            problems.append("its channels are outputs of the network")
        return ChannelGroup(root, channels, tuple(_unique(members)), problems[0] if problems else None)

    def _member(self, item: Any, channels: int) -> Member:
        module, name = item.dep.target.module, self._names[item.dep.target.module]
        role = self._role(module, name, item.dep.handler)
        index = _per_channel(item.idxs, item.root_idxs, channels)
        size = _axis_size(module, role)
        if index is None or int(index.max()) >= size:
            raise ValueError(f"its {channels} channels do not map onto the {size} of {name}")
        feeds = self._norm_after(module) if role == "producer" else None
        return Member(name, role, index, feeds)

    def _role(self, module: nn.Module, name: str, handler: Any) -> Role:
        if not isinstance(module, PRODUCERS + NORMS):
            raise ValueError(f"it includes {name}, a {type(module).__name__}, which is not handled")
        if isinstance(module, NORMS) and not module.affine:
            raise ValueError(f"it includes {name}, a {type(module).__name__} without scale and bias that could vanish")
        groups = getattr(module, "groups", 1)
        depthwise = groups > 1 and groups == module.out_channels == module.in_channels
        if groups > 1 and not depthwise:
            raise ValueError(f"it includes {name}, a convolution in {groups} groups, which is not handled")
        if self._graph.is_in_channel_pruning_fn(handler) and not depthwise and not isinstance(module, NORMS):
            return "consumer"
        if any(f"{name}.{key}" in self._frozen for key, _ in module.named_parameters(recurse=False)):
            raise ValueError(f"{name} is frozen (requires_grad is off)")
        return "norm" if isinstance(module, NORMS) else "producer"

    def _norm_after(self, module: nn.Module) -> str | None:
        following = [node.module for node in self._graph.module2node[module].outputs]
        norms = [self._names[after] for after in following if isinstance(after, NORMS)]
        return norms[0] if len(norms) == 1 == len(following) else None


def _per_channel(places: Sequence[int], roots: Sequence[int], channels: int) -> Tensor | None:
    """(channels, k) from parallel lists of places and the root channel of each; None when k varies."""
    per_root: list[list[int]] = [[] for _ in range(channels)]
    for place, root in zip(places, roots, strict=True):
        per_root[root].append(place)
    widths = {len(places) for places in per_root}
    return torch.tensor(per_root) if len(widths) == 1 and widths != {0} else None


def _axis_size(module: nn.Module, role: Role) -> int:
    if isinstance(module, nn.Linear):
        return module.in_features if role == "consumer" else module.out_features
    if isinstance(module, NORMS):
        return int(module.num_features)
    size = module.in_channels if role == "consumer" else module.out_channels
    return int(size)  # type: ignore[arg-type]


def _unique(members: Iterable[Member]) -> Iterable[Member]:
    return {(member.module, member.role): member for member in members}.values()
