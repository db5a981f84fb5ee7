"""Which layers can be fitted, in what order they run, and which of them read the same tensor."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from compressor.channels import ChannelGroup
from compressor.equivalence import Inputs, outputs, relative_difference
from compressor.hooks import hooked
from compressor.inputs import samples_in
from compressor.layer_kinds import NORMS, PRODUCERS, channel_axis, output_axis
from compressor.limits import allowed
from compressor.reconstruction.gram import Gram
from compressor.reconstruction.rows import Layer, outputs_of, positions_in, rows_of, weight_of

# How far the output of a layer may be from what its weights say before it counts as another operation.
OWN_CODE = 1e-3
# At about how many places of a sample that is looked at.
CHECKED = 64

# By group the channels that went.
Gone = Mapping[str, Sequence[int]]


@dataclass(frozen=True, eq=False)
class Reader:
    """A layer that can be fitted, or a BatchNorm that follows none; it runs ``calls`` times.

    ``kept`` are its outputs among those of the dense one, None where it has all; ``norm`` the BatchNorm behind it.
    """

    name: str
    calls: int
    kept: Tensor | None
    norm: str | None


@dataclass(frozen=True)
class Readers:
    """Layers in the order in which they run, those that read the same tensor together; and the others.

    ``left`` says of layers that read removed channels why they are not fitted. ``bytes_per_sample`` is what the
    largest layer reads and makes, ``bytes_per_row`` what all layers make at one place.
    """

    waves: tuple[tuple[Reader, ...], ...]
    left: Mapping[str, str]
    bytes_per_sample: int
    bytes_per_row: int

    @property
    def count(self) -> int:
        """How many layers can be fitted."""
        return sum(map(len, self.waves))


def find_readers(
    dense: nn.Module, small: nn.Module, groups: Sequence[ChannelGroup], gone: Gone, example: Inputs
) -> Readers:
    """The layers of ``small``, which is ``dense`` without the channels that are ``gone``, run on an example."""
    kept, norms = _outputs_left(dense, groups, gone), _norms(small, groups)
    before, after = _calls(dense, example), _calls(small, example)
    reading = dict.fromkeys(m.module for g in groups if gone.get(g.name) for m in g.members if m.role == "consumer")
    left, waves, latest = dict[str, str](), list[list[Reader]](), None
    restated = set[str | None]()
    for name in [*after, *(name for name in reading if name not in after)]:
        if name in restated:
            continue
        why = _unfit(small, name) or _mismatch(small, name, before.get(name, []), after.get(name, []), kept.get(name))
        if why is None:
            reader = Reader(name, len(after[name]), kept.get(name), norms.get(name))
            restated.add(reader.norm)
            if latest is not None and after[name][0][0] is latest:
                waves[-1].append(reader)
            else:
                waves.append([reader])
            latest = after[name][0][0]
        elif name in reading and _still_there(small, name):
            left[name] = why
    largest = max((given.nbytes + made.nbytes for calls in before.values() for given, made in calls), default=0)
    made = {name: calls[0][1].shape[channel_axis(small.get_submodule(name))] for name, calls in after.items()}
    outs = sum(4 * made[one.name] for wave in waves for one in wave)
    return Readers(tuple(map(tuple, waves)), left, largest // samples_in(example), outs)


Calls = list[tuple[Tensor, Tensor]]


def _calls(model: nn.Module, example: Inputs) -> dict[str, Calls]:
    """What each convolution, linear layer and BatchNorm is given and makes, call after call, the first ones first."""
    seen: dict[str, Calls] = defaultdict(list)

    def note(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Tensor) -> None:
            # What follows may write into the result.
            seen[name].append(((*args, *kwargs.values())[0], out.clone()))

        return hook

    layers = {name: module for name, module in model.named_modules() if _fits(module) or _restates(module)}
    with hooked(module.register_forward_hook(note(name), with_kwargs=True) for name, module in layers.items()):
        outputs(model, example)
    return dict(seen)


def _fits(module: nn.Module) -> TypeGuard[Layer]:
    return isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)


def _restates(module: nn.Module | None) -> TypeGuard[Any]:
    """Whether it is a BatchNorm that uses statistics of the training."""
    return isinstance(module, NORMS) and module.running_mean is not None and module.running_var is not None


def _still_there(model: nn.Module, name: str) -> bool:
    """Whether the layer did not go with a whole branch."""
    return isinstance(dict(model.named_modules()).get(name), PRODUCERS)


def _unfit(model: nn.Module, name: str) -> str | None:
    """Why the weights of a layer cannot be chosen; None when they can."""
    module = dict(model.named_modules()).get(name)
    if _restates(module):
        return None
    if module is None or not _fits(module):
        return f"{type(module).__name__} is no convolution or linear layer"
    if module._parameters.get("weight") is None:
        return "its weights are computed from others"
    owners = Counter(id(p) for m in model.modules() for p in m._parameters.values() if p is not None)
    if any(owners[id(own)] > 1 for own in module._parameters.values() if own is not None):
        return "it shares its weights with another layer"
    if not all(own.requires_grad for own in module._parameters.values() if own is not None):
        return "its weights are frozen"
    groups, made, features = weight_of(module).shape
    needed = Gram.bytes_for(groups, features, made)
    if needed > allowed():
        return f"it reads {features:,} numbers at once, which takes {needed / 2**30:.1f} GiB; --max-memory allows more"
    return None


def _mismatch(small: nn.Module, name: str, before: Calls, after: Calls, kept: Tensor | None) -> str | None:
    """Why a layer cannot be compared with that of the dense network, call by call; None when it can."""
    layer = small.get_submodule(name)
    if not after or len(before) != len(after):
        return "it is not run by itself, or not as often as in the dense network"
    for (_, dense), (given, made) in zip(before, after, strict=True):
        wanted = dense if kept is None else dense.index_select(channel_axis(layer), kept.to(dense.device))
        if wanted.shape != made.shape or made.ndim < 2:
            return "what it makes has another shape than in the dense network"
        if not _fits(layer):
            continue
        positions = torch.arange(0, positions_in(layer, made), positions_in(layer, made) // CHECKED + 1)
        own = rows_of(layer, given, positions.to(given.device)).double().cpu() @ weight_of(layer).mT
        if layer.bias is not None:
            own += layer.bias.double().cpu().view(len(own), 1, -1)
        if relative_difference(outputs_of(layer, made, positions.to(made.device)).double().cpu(), own) > OWN_CODE:
            return "its code does something else than its weights say"
    return None


def _outputs_left(dense: nn.Module, groups: Sequence[ChannelGroup], gone: Gone) -> dict[str, Tensor]:
    """For each layer of ``dense`` that loses outputs: the places of those that stay."""
    lost: dict[str, set[int]] = defaultdict(set)
    for group in groups:
        for member in group.members:
            module = dense.get_submodule(member.module)
            made = _fits(module) and ("weight", output_axis(module)) in member.tensors
            if made or _restates(module):
                lost[member.module] |= set(member.index[list(gone.get(group.name, ()))].flatten().tolist())
    return {name: _others(dense.get_submodule(name), places) for name, places in lost.items() if places}


def _others(layer: nn.Module, places: set[int]) -> Tensor:
    count = len(layer.weight) if _fits(layer) else int(layer.num_features)  # type: ignore[arg-type]
    return torch.tensor([place for place in range(count) if place not in places], dtype=torch.long)


def _norms(model: nn.Module, groups: Sequence[ChannelGroup]) -> dict[str, str]:
    """The BatchNorm with statistics of its own that directly follows a layer, by the layer's name."""
    follows = {m.module: m.feeds for group in groups for m in group.members if m.feeds is not None}
    modules = dict(model.named_modules())
    return {name: norm for name, norm in follows.items() if _restates(modules.get(norm))}
