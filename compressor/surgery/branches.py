"""What is left of a residual branch in which every channel is zero: a `Constant`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from compressor.architectures.constant import Constant
from compressor.channels import Branch, ChannelGroup, Ending, Member
from compressor.equivalence import Inputs, outputs
from compressor.hooks import hooked
from compressor.inputs import Examples
from compressor.layer_kinds import MAKERS, channel_axis
from compressor.surgery import copied
from compressor.surgery.replacements import slim_touched

# By how much the layers of a branch divide heights and widths.
STEPS = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class Left:
    """The same numbers at every place: one for each channel, of which ``before`` and ``behind`` axes lie around.

    ``nones`` times None follow in a tuple; ``shapes`` are those of the results, call after call.
    """

    values: Tensor
    before: int
    behind: int
    nones: int
    shapes: tuple[torch.Size, ...]

    def module(self, like: nn.Module, step: int = 0) -> Constant:
        """That as a module, trained where ``like`` was."""
        made = Constant(len(self.values), self.behind, self.before, step, self.nones)
        self._fill(made, like)
        return made

    def fitting(self, like: nn.Module) -> _Fitting:
        """One that gives results of the known shapes."""
        made = _Fitting(len(self.values), self.behind, self.before, self.nones, self.shapes)
        self._fill(made, like)
        return made

    def _fill(self, made: Constant, like: nn.Module) -> None:
        trained = all(parameter.requires_grad for parameter in like.parameters())
        made.value = nn.Parameter(self.values.reshape(made.value.shape).clone(), trained)
        made.train(like.training)


class _Fitting(Constant):
    """A constant that gives results of known ``shapes`` in order, and finds the ``steps`` that lead to all of them."""

    def __init__(self, channels: int, trailing: int, leading: int, nones: int, shapes: Sequence[torch.Size]) -> None:
        super().__init__(channels, trailing, leading, nones=nones)
        self.shapes = [*shapes]
        self.steps = list(STEPS)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor | None, ...]:
        first, shape = (*args, *kwargs.values())[0].shape, self.shapes.pop(0)
        self.steps = [step for step in self.steps if self.shape(first, step) == [*shape]]
        value = self.value[(None,) * self.leading].expand(shape).clone()
        return (value, *[None] * self.nones) if self.nones else value


# What each ending gives, by the name of its module; None where that is no constant.
Remains = Mapping[str, Left | None]


@contextlib.contextmanager
def watching_endings(model: nn.Module, endings: Sequence[Ending], calls: int) -> Iterator[Callable[[], Remains]]:
    """What the endings give in the forward passes inside the block, which call each of them ``calls`` times."""
    seen: dict[str, list[Left | None]] = {ending.module: [] for ending in endings}

    def watch(ending: Ending) -> Any:
        return lambda module, args, out: seen[ending.module].append(left_of(out, ending.axis))

    def remains() -> Remains:
        return {name: agreed(given) if len(given) == calls else None for name, given in seen.items()}

    with hooked(
        model.get_submodule(ending.norm or ending.module).register_forward_hook(watch(ending)) for ending in endings
    ):
        yield remains


def left_of(out: Any, axis: int) -> Left | None:
    """What a module gives as a constant with its channels on ``axis``; None when it is none."""
    first, rest = (out[0], out[1:]) if isinstance(out, tuple) and len(out) > 1 else (out, ())
    if not isinstance(first, Tensor) or any(other is not None for other in rest) or first.ndim <= max(axis, 0):
        return None
    values = first.movedim(axis, 0).flatten(1)
    if not values.numel() or not bool((values == values[:, :1]).all()):
        return None
    before = axis % first.ndim
    behind = first.ndim - 1 - before
    return Left(values[:, 0].clone(), before, behind, len(rest), (first.shape,)) if max(before, behind) < 4 else None


def agreed(given: Sequence[Left | None]) -> Left | None:
    """What is the same in every call; None when it is not, or cannot be seen for want of a second sample."""
    found = [one for one in given if one is not None]
    if len(found) < len(given) or all(shape[0] < 2 for one in found for shape in one.shapes):
        return None
    same = all(torch.equal(one.values, found[0].values) for one in found)
    return replace(found[0], shapes=tuple(shape for one in found for shape in one.shapes)) if same else None


@torch.no_grad()
def bypassed(model: nn.Module, branches: Sequence[Branch], inputs: Inputs) -> Iterator[nn.Module]:
    """Copies of ``model`` with constants in the place of ``branches``, whose channels are all zero, the best one first.

    A constant is right where it is added to something, and one that is as large as what was there even where the code
    writes into it; the caller compares outputs. Nothing where they do not end in constants.
    """
    endings = [ending for branch in branches for ending in branch.endings]
    with watching_endings(model, endings, len(Examples.of(inputs).calls)) as remains:
        outputs(model, inputs)
    left = {name: one for name, one in remains().items() if one is not None}
    if len(left) < len(endings):
        return
    like = {ending.module: model.get_submodule(ending.reader) for ending in endings}
    yield _with(model, branches, {name: one.module(like[name]) for name, one in left.items()})
    fitting = {name: one.fitting(like[name]) for name, one in left.items()}
    outputs(_with(model, branches, fitting), inputs)
    if all(one.steps for one in fitting.values()):
        yield _with(
            model, branches, {name: one.module(like[name], fitting[name].steps[0]) for name, one in left.items()}
        )


def _with(model: nn.Module, branches: Sequence[Branch], constants: Mapping[str, nn.Module]) -> nn.Module:
    small = copied(model)
    for branch in branches:
        for name in (*branch.gone, *(ending.norm for ending in branch.endings if ending.norm is not None)):
            small.set_submodule(name, nn.Identity())
    for name, constant in constants.items():
        small.set_submodule(name, constant)
    # What torch's own layer does at once it does with the weights of all its parts, unless its attention is ours.
    layers = [name for name, module in small.named_modules() if isinstance(module, nn.TransformerEncoderLayer)]
    slim_touched(small, {f"{name}.self_attn" for name in layers if any(_within(name, one) for one in branches)})
    return small


def _within(layer: str, branch: Branch) -> bool:
    return any(name.startswith(f"{layer}.") for name in branch.modules)


def branch_around(model: nn.Module, group: ChannelGroup, norms: Mapping[str, str]) -> Branch | None:
    """The layers on both sides of ``group`` as a branch, where these have no other channels there."""
    if not all(_covers(model.get_submodule(member.module), member) for member in group.members):
        return None
    readers = [member.module for member in group.members if member.role == "consumer"]
    endings = [Ending(name, name, channel_axis(model.get_submodule(name)), norms.get(name)) for name in readers]
    made = dict.fromkeys(member.module for member in group.members if member.role != "consumer")
    return Branch(group.name, (group.name,), tuple(endings), tuple(made)) if readers else None


def norms_behind(groups: Sequence[ChannelGroup]) -> dict[str, str]:
    """The norm that directly follows each layer that has one."""
    members = [member for group in groups for member in group.members if member.role == "producer"]
    return {member.module: member.feeds for member in members if member.feeds is not None}


def _covers(module: nn.Module, member: Member) -> bool:
    tensors = dict(member.tensors)
    if member.role not in {"producer", "norm", "follower", "consumer"} or "weight" not in tensors:
        return False
    if member.role in {"producer", "consumer"} and not isinstance(module, MAKERS):
        return False
    weight = module.weight
    alone = isinstance(weight, Tensor) and not list(module.children())
    return alone and member.index.numel() == weight.shape[tensors["weight"]]  # type: ignore[index]
