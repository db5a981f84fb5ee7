"""Zero channels become removed channels, if the outputs stay equal on sampled inputs."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compressor.alignment import Alignment
from compressor.equivalence import FLOAT64_LIMIT, Inputs, accepted, output_difference, relative_difference
from compressor.errors import CompressorWarning, EquivalenceError, UsageError
from compressor.groups import ChannelGroup, find_groups, is_zero, unprefixed, unwrapped
from compressor.groups.training_only import training_outputs, training_switches
from compressor.inputs import Examples, cast, converted, random_inputs
from compressor.precision import FLOAT32_LIMIT, LOW, in_precision, limit_of, precisions
from compressor.records.run import Removal
from compressor.surgery import remove
from compressor.surgery.constants import bypassed, is_branch, norms_behind

RANDOM_SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """A shrunk network, what was removed, and the channels before and after by group."""

    model: nn.Module
    removal: Removal
    channels: Mapping[str, tuple[int, int]]


def shrink(
    model: nn.Module, example_input: Inputs, *, real_inputs: Inputs | None = None, align: str | int = "auto"
) -> nn.Module:
    """A physically smaller copy of ``model`` without its zero channels; `EquivalenceError` when outputs differ.

    ``example_input`` is (batch >= 2, *input_shape), or what the network takes instead, as in `Splitting`;
    ``real_inputs`` are compared too when given. Widths stay aligned as in `Splitting`: a few zero channels are kept
    where they fill up a step; ``align=1`` removes all.
    Warns with `CompressorWarning` when no zero channel can go: the copy is then as large as ``model``.
    """
    shrunk = remove_zero_channels(model, example_input, real_inputs=real_inputs, align=align)
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
    prunable = list(unprefixed(prunable, prefix))
    zeros = {group.name: _zeros(model, group, alignment) for group in prunable}
    # In float64, so that rounding hides nothing; what is written has the precision of ``model``.
    exact, samples = _exact(model, Examples.of(example_input), real_inputs)
    smaller = remove(exact, prunable, zeros, samples[0])
    dead = [group for group in prunable if bool(is_zero(model, group).all()) and is_branch(model, group)]
    smaller, gone = _without_branches(exact, smaller, dead, norms_behind(prunable), samples)
    small = _like(smaller, model)
    difference = max(_furthest(exact, smaller, samples), _training_difference(exact, smaller, samples[0]))
    float64, float32 = _checked(difference, samples[0].precision, _float32_difference(model, small, samples), model)
    channels = {g.name: (g.channels, 0 if g.name in gone else g.channels - len(zeros[g.name])) for g in prunable}
    removal = Removal(
        float64=float64,
        float32=float32,
        float64_limit=FLOAT64_LIMIT,
        float32_limit=_float32_limit(model),
        inputs=f"{len(RANDOM_SEEDS)} random batches"
        + (f" and {len(real_inputs)} real samples" if isinstance(real_inputs, Tensor) else ""),
        channels_removed=sum(before - after for before, after in channels.values()),
        channels_total=sum(before for before, _ in channels.values()),
    )
    return Shrunk(model=small, removal=removal, channels=channels)


def _exact(model: nn.Module, example: Examples, real: Inputs | None) -> tuple[nn.Module, list[Examples]]:
    """A copy in float64, or in float32 where its code cannot compute in that, and the inputs that it is compared on."""
    try:
        return _in(torch.float64, model, example, real)
    except UsageError:
        return _in(torch.float32, model, example, real)


def _in(
    dtype: torch.dtype, model: nn.Module, example: Examples, real: Inputs | None
) -> tuple[nn.Module, list[Examples]]:
    made, samples = in_precision(model, dtype), []
    for seed in RANDOM_SEEDS:
        generator = torch.Generator().manual_seed(seed)
        draws = (random_inputs(example, generator, same_shape=kept) for kept in (False, True))
        samples.append(accepted(made, (cast(drawn, dtype) for drawn in draws)))
    return made, [*samples, *([cast(Examples(real, outputs=example.outputs), dtype)] if real is not None else [])]


def _checked(
    difference: float, precision: torch.dtype | None, float32: float, model: nn.Module
) -> tuple[float | None, float]:
    """The differences in float64, if there is one, and in float32; `EquivalenceError` where one is too large."""
    in_float64 = precision is torch.float64
    figures = [("float64", difference, FLOAT64_LIMIT)] if in_float64 else []
    figures.append(("float32", float32 if in_float64 else max(difference, float32), _float32_limit(model)))
    if not all(found <= limit for _, found, limit in figures):
        words = [f"in {name} (allowed {limit:g})" for name, _, limit in figures]
        shown = [f"{found:.1e}{'' if place else ' of their scale'}" for place, (_, found, _) in enumerate(figures)]
        differ = " and ".join(map(" ".join, zip(shown, words, strict=True)))
        raise EquivalenceError(f"removing channels would change the outputs by {differ}; nothing was written")
    return difference if in_float64 else None, figures[-1][1]


def _float32_limit(model: nn.Module) -> float:
    """The bound in float32; of a network in half precision, in which a bias that takes up a constant is rounded."""
    return max([FLOAT32_LIMIT, *(4 * torch.finfo(kind).eps for kind in precisions(model) if kind in LOW)])


def _without_branches(
    exact: nn.Module,
    small: nn.Module,
    dead: Sequence[ChannelGroup],
    norms: Mapping[str, str],
    inputs: Sequence[Examples],
) -> tuple[nn.Module, list[str]]:
    """``small`` with a constant in the place of each dead group around which that changes nothing; their names."""
    gone: list[str] = []
    for group in dead:
        candidate = bypassed(small, group, norms, inputs[0])
        try:
            equal = candidate is not None and _furthest(exact, candidate, inputs) <= limit_of(inputs[0].precision)
        except Exception:  # whatever the network's code raises where it needs more than a constant
            equal = False
        if candidate is not None and equal:
            small, gone = candidate, [*gone, group.name]
    return small, gone


def _zeros(model: nn.Module, group: ChannelGroup, alignment: Alignment) -> list[int]:
    """The zero channels of a group but for those that fill up its last step."""
    zeros: list[int] = is_zero(model, group).nonzero().flatten().tolist()
    kept = alignment.up(group.channels - len(zeros), group.channels)
    return zeros[kept - (group.channels - len(zeros)) :]


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


def _float32_difference(dense: nn.Module, small: nn.Module, samples: Sequence[Examples]) -> float:
    """In float32, as the network computes itself unless that is another precision."""
    native = precisions(dense) <= {torch.float32}
    one, other = (in_precision(model, torch.float32) for model in (dense, small))
    return _furthest(one, other, [(converted if native else cast)(inputs, torch.float32) for inputs in samples])


def _furthest(dense: nn.Module, small: nn.Module, samples: Sequence[Examples]) -> float:
    return max(output_difference(dense, small, inputs) for inputs in samples)


def _training_difference(dense: nn.Module, small: nn.Module, inputs: Inputs) -> float:
    """The same over the outputs that come in training only, those of auxiliary classifiers for example."""
    switches = training_switches(dense, inputs)
    pairs = zip(training_outputs(dense, inputs, switches), training_outputs(small, inputs, switches), strict=True)
    return max((relative_difference(one, other) for one, other in pairs), default=0.0)
