"""Zero channels become removed channels, if the outputs stay equal on sampled inputs."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from compressor.alignment import Alignment
from compressor.channels import Branch, branches, shared_places, ties
from compressor.comparison import RANDOM_SEEDS, differences, exact_copy, furthest
from compressor.computed_weights import folded
from compressor.equivalence import FLOAT64_LIMIT, Inputs, outputs, relative_difference
from compressor.errors import CompressorWarning, EquivalenceError, first_line
from compressor.groups import ChannelGroup, find_groups, is_zero, unprefixed, unwrapped
from compressor.groups.control_flow import with_other_sizes
from compressor.groups.training_only import training_outputs, training_switches
from compressor.hooks import running
from compressor.inputs import Examples, cast
from compressor.precision import limit_of
from compressor.records.run import Removal
from compressor.structures import tensors
from compressor.surgery import remove
from compressor.surgery.branches import branch_around, bypassed, norms_behind
from compressor.surgery.optimizer_state import carry_over, lost_places, require_optimizer_of


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A shrunk network, what was removed, the channels before and after by group, and which of them went."""

    model: nn.Module
    removal: Removal
    channels: Mapping[str, tuple[int, int]]
    gone: Mapping[str, Sequence[int]]
    groups: Sequence[ChannelGroup]


def shrink(
    model: nn.Module,
    example_input: Inputs,
    *,
    real_inputs: Inputs | None = None,
    align: str | int = "auto",
    optimizer: Optimizer | None = None,
) -> nn.Module:
    """A physically smaller copy of ``model`` without its zero channels; `EquivalenceError` when outputs differ.

    ``example_input`` is (batch >= 2, *input_shape), or what the network takes instead, as in `Splitting`;
    ``real_inputs`` are compared too when given. Widths stay aligned as in `Splitting`: a few zero channels are kept
    where they fill up a step; ``align=1`` removes all. An ``optimizer`` that trained ``model`` trains the copy from
    then on, with its momenta of the channels that are left; what `Splitting.attach` returned must be removed before.
    Warns with `CompressorWarning` when no zero channel can go: the copy is then as large as ``model``.
    """
    inner = unwrapped(model)[0]
    if optimizer is not None:
        require_optimizer_of(inner, optimizer)
    shrunk = remove_zero_channels(model, example_input, real_inputs=real_inputs, align=align)
    if optimizer is not None:
        carry_over(optimizer, inner, shrunk.model, lost_places(inner, shrunk.groups, shrunk.gone))
    if not shrunk.removal.channels_removed:
        warnings.warn(
            "the network has no zero channel that can be removed, so an equal copy is returned; "
            "Splitting.project() makes such channels when the training has a target",
            CompressorWarning,
            stacklevel=2,
        )
    return shrunk.model


@torch.inference_mode(False)
@torch.no_grad()
def remove_zero_channels(
    model: nn.Module,
    example_input: Inputs,
    *,
    real_inputs: Inputs | None = None,
    align: str | int = "auto",
    groups: Sequence[ChannelGroup] | None = None,
) -> Shrunk:
    """Like `shrink`, with the figures and without its warning; ``groups`` saves finding them again.

    A wholly zero group keeps one step; inside a residual branch it goes with the branch.
    """
    alignment = Alignment.parse(align)
    groups = find_groups(model, example_input) if groups is None else groups
    prunable = [group for group in groups if group.prunable]
    model, prefix = unwrapped(model)
    model = folded(model)
    prunable = list(unprefixed(prunable, prefix))
    zeros = _zeros(model, prunable, alignment)
    # In float64, so that rounding hides nothing; what is written has the precision of ``model``.
    exact, samples = exact_copy(model, example_input, real_inputs)
    samples[0] = with_other_sizes(exact, samples[0])
    if len(samples[0].calls) > 1 and samples[0].precision is not None:
        # Of several examples the values may say which way to go.
        samples.append(cast(Examples.of(example_input), samples[0].precision))
    smaller = _removed(exact, prunable, zeros, samples)
    dead = [group for group in prunable if bool(is_zero(model, group).all())]
    smaller, gone = _without_branches(exact, smaller, prunable, dead, samples)
    small = _like(smaller, model)
    difference = max(furthest(exact, smaller, samples), _training_difference(exact, smaller, samples[0]))
    found = differences(difference, model, small, samples)
    if not found.allowed:
        raise EquivalenceError(
            f"removing channels{_of_whom(exact, prunable, zeros, samples)} would change the outputs by {found}; "
            "nothing was written"
        )
    channels = {g.name: (g.channels, 0 if g.name in gone else g.channels - len(zeros[g.name])) for g in prunable}
    removal = Removal(
        float64=found.float64,
        float32=found.float32,
        float64_limit=FLOAT64_LIMIT,
        float32_limit=found.float32_limit,
        inputs=(f"{len(RANDOM_SEEDS)} random batches" if any(tensors(samples[0].calls)) else "the example")
        + (f" and {len(real_inputs)} real samples" if isinstance(real_inputs, Tensor) else ""),
        channels_removed=sum(before - after for before, after in channels.values()),
        channels_total=sum(before for before, _ in channels.values()),
    )
    return Shrunk(model=small, removal=removal, channels=channels, gone=zeros, groups=prunable)


def _removed(
    exact: nn.Module, groups: Sequence[ChannelGroup], zeros: Mapping[str, Sequence[int]], inputs: Sequence[Examples]
) -> nn.Module:
    """``exact`` without the ``zeros``, tried on the ``inputs``; `EquivalenceError` with the group where it breaks."""
    modules: list[tuple[str, nn.Module]] = []
    try:
        small = remove(exact, groups, zeros, inputs[0])
        with running(small) as modules:
            for sample in inputs:
                outputs(small, sample)
    except Exception as error:  # whatever the network's code raises on a shape it did not expect
        place = f" in {modules[-1][0]}" if modules and modules[-1][0] else ""
        raise EquivalenceError(
            f"removing channels{_of_whom(exact, groups, zeros, inputs)} breaks the network{place} "
            f"({type(error).__name__}: {first_line(error)}); nothing was written"
        ) from error
    return small


def _of_whom(
    exact: nn.Module, groups: Sequence[ChannelGroup], zeros: Mapping[str, Sequence[int]], inputs: Sequence[Examples]
) -> str:
    """The first group, or tied ones, that alone make the removal fail; empty when only several together do."""
    for tie in ties(groups):
        alone = [groups[place] for place in tie]
        try:
            fails = furthest(exact, remove(exact, alone, zeros, inputs[0]), inputs) > limit_of(inputs[0].precision)
        except Exception:  # as above
            fails = True
        if fails:
            return f" of {' and '.join(group.name for group in alone)}"
    return ""


def _without_branches(
    exact: nn.Module,
    small: nn.Module,
    groups: Sequence[ChannelGroup],
    dead: Sequence[ChannelGroup],
    inputs: Sequence[Examples],
) -> tuple[nn.Module, set[str]]:
    """``small`` with constants in the place of what is dead, where that changes nothing; the groups that went."""
    gone: set[str] = set()
    # A branch ends in constants as soon as the last of its groups is dead, whatever leads there.
    for branch in [branch for branch in branches(groups) if any(group.name in branch.groups for group in dead)]:
        small, went = _without_branch(exact, small, branch, inputs)
        gone |= set(branch.groups) if went else set()
    norms = norms_behind(groups)
    for group in dead:
        around = branch_around(small, group, norms) if group.name not in gone and _whole(small, group) else None
        if around is not None:
            small, went = _without_branch(exact, small, around, inputs)
            gone |= {group.name} if went else set()
    return small, gone


def _whole(small: nn.Module, group: ChannelGroup) -> bool:
    """Whether all modules of the group are still there."""
    names = {name for name, _ in small.named_modules()}
    return all(member.module in names for member in group.members)


def _without_branch(
    exact: nn.Module, small: nn.Module, branch: Branch, inputs: Sequence[Examples]
) -> tuple[nn.Module, bool]:
    try:
        for candidate in bypassed(small, [branch], inputs[0]):
            with contextlib.suppress(Exception):  # whatever the network's code raises where it needs more
                if furthest(exact, candidate, inputs) <= limit_of(inputs[0].precision):
                    return candidate, True
    except Exception:  # or where layers are gone
        return small, False
    return small, False


def _zeros(model: nn.Module, groups: Sequence[ChannelGroup], alignment: Alignment) -> dict[str, list[int]]:
    """By group its zero channels but for those that fill up its last step, or that tied groups have not."""
    zeros: dict[str, list[int]] = {group.name: is_zero(model, group).nonzero().flatten().tolist() for group in groups}
    for tie in ties(groups):
        together = [groups[place] for place in tie]
        most = max(group.channels - len(zeros[group.name]) for group in together)
        for group in together:
            lost = group.channels - alignment.up(most, group.channels, shared_places(together))
            zeros[group.name] = zeros[group.name][len(zeros[group.name]) - lost :]
    return zeros


def _like(small: nn.Module, model: nn.Module) -> nn.Module:
    """A copy of ``small`` in which every tensor has the type and the device that it has in ``model``."""
    made = copy.deepcopy(small)
    known = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}
    anyone = next(iter(known.values()), torch.zeros(()))
    for name, tensor in [*made.named_parameters(), *made.named_buffers()]:
        # A bias that is new is like its weight.
        like = known.get(name, known.get(f"{name.rpartition('.')[0]}.weight", anyone))
        tensor.data = tensor.data.to(like)
    return made


def _training_difference(dense: nn.Module, small: nn.Module, inputs: Inputs) -> float:
    """The same over the outputs that come in training only, those of auxiliary classifiers for example."""
    switches = training_switches(dense, inputs)
    pairs = zip(training_outputs(dense, inputs, switches), training_outputs(small, inputs, switches), strict=True)
    return max((relative_difference(one, other) for one, other in pairs), default=0.0)
