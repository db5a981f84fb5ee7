"""Surgery on networks: every tensor loses the places of the removed channels, every module its sizes."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from compressor.architectures.cifar_resnet import PaddedShortcut
from compressor.channels import ChannelGroup
from compressor.equivalence import Inputs
from compressor.layer_kinds import CONVOLUTIONS, PLAIN_CONVOLUTIONS, TRANSPOSED, output_axis
from compressor.surgery.constants import Chosen, Constants, fold, observed
from compressor.surgery.replacements import equal_shortcuts, slim_touched

# By the name of a tensor and by axis: the places that go.
Cuts = Mapping[str, Mapping[int, Set[int]]]
Pruner = Callable[[nn.Module, list[int]], nn.Module]


def remove(
    model: nn.Module, groups: Sequence[ChannelGroup], channels: Mapping[str, Sequence[int]], inputs: Inputs
) -> nn.Module:
    """``model`` without some zero channels of some groups, by the group's name.

    What such a channel still sends, an activation of zero that is not zero, goes into the bias of its readers.
    ``model`` is left as it is; the result shares with it the tensors that nothing is removed from.
    """
    chosen = [(group, list(channels[group.name])) for group in groups if len(channels.get(group.name, ()))]
    padded = {member.module for group, _ in chosen for member in group.members if member.role == "padding"}
    return without(model, chosen, observed(model, chosen, inputs)[1], equal_shortcuts(model, inputs, padded))


@torch.no_grad()
def without(
    model: nn.Module,
    chosen: Chosen,
    constants: Constants,
    shortcuts: Mapping[str, PaddedShortcut],
    kept: Set[nn.Module] = frozenset(),
) -> nn.Module:
    """`remove`, when it is known what the chosen channels send and which shortcuts are equal to others.

    The result shares with ``model`` the modules ``kept``, which hold nothing of the groups, as well.
    """
    small = copied(model, kept)
    slim_touched(small, {member.module for group, _ in chosen for member in group.members})
    fold(small, constants)
    gone: dict[Tensor, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    padding: dict[PaddedShortcut, set[int]] = defaultdict(set)
    for group, places in chosen:
        for member in group.members:
            module = small.get_submodule(member.module)
            lost = set(member.index[places].flatten().tolist())
            if member.role == "padding":
                padding[_shortcut(small, member.module, shortcuts)] |= lost
            elif member.role == "count":
                for name, place in member.tensors:
                    setattr(module, name, _fewer(getattr(module, name), place, len(lost)))
            else:
                for name, axis in member.tensors:
                    gone[getattr(module, name)][axis] |= lost
    _cut(small, gone)
    for shortcut, lost in padding.items():
        before = len([place for place in lost if place < shortcut.before])
        shortcut.before, shortcut.after = shortcut.before - before, shortcut.after - (len(lost) - before)
    return small


def _fewer(stated: Any, place: int, lost: int) -> Any:
    """What a module states, less what is lost: a number, or several of which the one at ``place`` counts."""
    if isinstance(stated, list | tuple):
        return type(stated)(count - lost if at == place else count for at, count in enumerate(stated))
    return stated - lost


def copied(model: nn.Module, kept: Set[nn.Module] = frozenset()) -> nn.Module:
    """A deep copy that shares all tensors and the modules ``kept`` with ``model``."""
    copied = list(_outside(model, kept))
    held = [value for module in copied for value in vars(module).values()]
    # Most of what a module holds are empty dictionaries of hooks, of which the general way is slow.
    empty = {id(value): type(value)() for value in held if isinstance(value, dict) and not value}
    tensors = [tensor for module in copied for tensor in [*module.parameters(False), *module.buffers(False)]]
    return copy.deepcopy(model, {**empty, **{id(part): part for part in [*tensors, *kept]}})


def _outside(module: nn.Module, kept: Set[nn.Module]) -> Iterator[nn.Module]:
    """``module`` and those in it, but none that is ``kept`` nor what is in it."""
    if module not in kept:
        yield module
        for child in module.children():
            yield from _outside(child, kept)


def _cut(model: nn.Module, gone: Mapping[Tensor, Mapping[int, set[int]]]) -> None:
    """Every module loses places of its tensors; tied tensors stay tied, frozen ones frozen."""
    homes = _homes(model)
    cuts: dict[nn.Module, dict[str, Mapping[int, set[int]]]] = defaultdict(dict)
    for tensor, axes in gone.items():
        for module, name in homes[tensor]:
            cuts[module][name] = axes
    for module, of_it in cuts.items():
        _cut_layer(module, of_it)
    for tensor in gone:
        (first, name), *others = homes[tensor]
        getattr(first, name).requires_grad_(tensor.requires_grad)
        for module, other in others:
            setattr(module, other, getattr(first, name))


def _shortcut(model: nn.Module, name: str, shortcuts: Mapping[str, PaddedShortcut]) -> PaddedShortcut:
    """The shortcut of that name; one that is not ours is replaced by its equal."""
    module = model.get_submodule(name)
    if not isinstance(module, PaddedShortcut):
        module = shortcuts[name]
        model.set_submodule(name, module)
    return module


def _homes(model: nn.Module) -> dict[Tensor, list[tuple[nn.Module, str]]]:
    """Where each parameter and buffer is held: tied ones in several places."""
    homes: dict[Tensor, list[tuple[nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is not None:
                homes[tensor].append((module, name))
    return homes


def _cut_layer(module: nn.Module, cuts: Cuts) -> None:
    """Take these places out of the tensors of ``module``, and set the sizes that it states to what is left."""
    pruners = _pruners(module)
    if pruners is None:
        groups = _groups_left(module, cuts)
        _cut_tensors(module, cuts)
        _resize(module, groups)
        return
    axes = cuts["weight"] if "weight" in cuts else next(iter(cuts.values()))
    for axis, places in axes.items():
        pruners[axis != output_axis(module)](module, sorted(places))


def _pruners(module: nn.Module) -> tuple[Pruner, Pruner] | None:
    """Torch-Pruning's functions that remove outputs and inputs, where they do what is needed here."""
    known = torch_pruning.pruner.function
    match module:
        case nn.Linear():
            return known.prune_linear_out_channels, known.prune_linear_in_channels
        case nn.modules.batchnorm._BatchNorm():
            return known.prune_batchnorm_out_channels, known.prune_batchnorm_in_channels
        case nn.PReLU():
            return known.prune_prelu_out_channels, known.prune_prelu_in_channels
        case _ if isinstance(module, PLAIN_CONVOLUTIONS) and _is_depthwise(module):
            return known.prune_depthwise_conv_out_channels, known.prune_depthwise_conv_in_channels
        case _ if isinstance(module, CONVOLUTIONS) and module.groups == 1:
            return known.prune_conv_out_channels, known.prune_conv_in_channels
    return None


def _is_depthwise(module: Any) -> bool:
    return bool(1 < module.groups == module.in_channels == module.out_channels)


def _cut_tensors(module: nn.Module, cuts: Cuts) -> None:
    bias = getattr(module, "bias", None)
    if isinstance(module, CONVOLUTIONS) and isinstance(bias, Tensor):
        # One that folding has added is in no group yet; it goes with the rows of the weight.
        cuts = {"bias": {0: cuts["weight"].get(0, set())}, **cuts}
    for name, axes in cuts.items():
        tensor = getattr(module, name)
        left = tensor.detach()
        for axis, places in axes.items():
            kept = [place for place in range(tensor.shape[axis]) if place not in places]
            left = left.index_select(axis, torch.tensor(kept, dtype=torch.long, device=tensor.device))
        setattr(module, name, nn.Parameter(left) if isinstance(tensor, nn.Parameter) else left)


def _groups_left(module: nn.Module, cuts: Cuts) -> int:
    """How many groups a convolution is left with: whole ones go, or some places of every one."""
    if not isinstance(module, CONVOLUTIONS):
        return 1
    rows = len(module.weight) // module.groups
    lost = {place // rows for place in cuts["weight"].get(0, ())}
    return module.groups if len(lost) == module.groups else module.groups - len(lost)


def _resize(module: nn.Module, groups: int) -> None:
    """Modules of unknown kinds stay as they are."""
    match module:
        case nn.GroupNorm():
            per_group = module.num_channels // module.num_groups
            module.num_channels = len(module.weight)
            module.num_groups = module.num_channels // per_group
        case nn.Embedding():
            module.num_embeddings, module.embedding_dim = module.weight.shape
        case nn.modules.instancenorm._InstanceNorm():
            _resize_instance_norm(module)
        case nn.RNNBase():
            _resize_recurrent(module)
        case _ if isinstance(module, CONVOLUTIONS):
            _resize_in_groups(module, groups)


def _resize_instance_norm(module: Any) -> None:
    module.num_features = len(next(t for t in (module.weight, module.running_mean) if t is not None))


def _resize_recurrent(module: Any) -> None:
    module.input_size = module.weight_ih_l0.shape[1]
    # With projections it reads these in place of its hidden units, which then all stay.
    if not module.proj_size:
        module.hidden_size = module.weight_hh_l0.shape[1]


def _resize_in_groups(module: Any, groups: int) -> None:
    rows, columns = module.weight.shape[:2]
    across = columns * groups
    module.groups = groups
    module.in_channels, module.out_channels = (rows, across) if isinstance(module, TRANSPOSED) else (across, rows)
