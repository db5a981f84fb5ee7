"""Channels that are zeroed for a while, and what happens to the outputs when some of them are removed."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from compressor.channels import ChannelGroup, vanishing_tensors, zero
from compressor.equivalence import outputs, relative_difference
from compressor.errors import first_line
from compressor.groups.replay import Replay
from compressor.groups.training_only import training_outputs
from compressor.inputs import Examples
from compressor.precision import limit_of
from compressor.surgery import without
from compressor.surgery.constants import Chosen, Constants, unfoldable, watching

BREAKS = "removing channels breaks the network"


class Trial:
    """A network in which the chosen channels of some groups are zero."""

    def __init__(self, model: nn.Module, chosen: Chosen, inputs: Examples, switches: Sequence[str]) -> None:
        self._model, self._inputs, self._switches = model, inputs, switches
        self._channels = {group.name: list(channels) for group, channels in chosen}
        self._in_eval, self._in_training = Replay(model), Replay(model)
        self._modules = dict(model.named_modules())
        self._holders: dict[Tensor, list[str]] = defaultdict(list)
        for name, module in self._modules.items():
            for tensor in _tensors(module):
                self._holders[tensor].append(name)
        with watching(model, chosen) as self._arrived, self._in_eval.recording():
            self._expected = outputs(model, inputs)
        if switches:
            with self._in_training.recording():
                self._expected += training_outputs(model, inputs, switches)

    def failure(self, groups: Sequence[ChannelGroup], *, complete: bool = True) -> str | None:
        """Why removing the zeroed channels of these groups at once fails; None when nothing changes.

        Unless it is to be ``complete``, modules that none of them touches and that are called as before do not run.
        """
        chosen = [(group, self._channels[group.name]) for group in groups]
        constants = self._arrived(chosen)
        small = None
        try:
            small = without(self._model, chosen, constants, {}, kept=set() if complete else self._untouched(groups))
            with self._in_eval.replaying(complete=complete):
                actual = outputs(small, self._inputs)
            with self._in_training.replaying(complete=complete):
                actual += training_outputs(small, self._inputs, self._switches)
        except Exception as error:  # whatever the network's code raises on a shape it did not expect
            name = self._failed_in(small)
            place = f" in {name}" if name else ""
            return f"{BREAKS}{place} ({type(error).__name__}: {first_line(error)})"
        difference = max(relative_difference(one, other) for one, other in zip(self._expected, actual, strict=True))
        if difference <= limit_of(Examples.of(self._inputs).precision):
            return None
        changed = f"removing its zeroed channels changes the output by {difference:.1e} of its scale"
        return f"{changed} ({self._why(constants)})"

    def _untouched(self, groups: Sequence[ChannelGroup]) -> set[nn.Module]:
        """The modules that hold nothing of these groups, and of which no part does."""
        members = {self._modules[member.module] for group in groups for member in group.members}
        touched = {name for module in members for tensor in _tensors(module) for name in self._holders[tensor]}
        touched |= {member.module for group in groups for member in group.members}
        above = {name[:end] for name in touched for end in [0, *(i for i, c in enumerate(name) if c == ".")]}
        return set(self._modules.values()) - {self._modules[name] for name in touched | above}

    def _failed_in(self, small: nn.Module | None) -> str:
        failed = self._in_training.failed or self._in_eval.failed
        modules = small.named_modules() if small is not None else ()
        return next((name for name, module in modules if module is failed), "")

    def _why(self, constants: Constants) -> str:
        """What a zeroed channel still sends, as far as that is known."""
        for name, (_, values) in constants.items():
            if values is None:
                return f"what a zero channel sends to {name} depends on other channels"
            if bool(values.any()) and (why := unfoldable(self._model.get_submodule(name))) is not None:
                sent = float(values[values != 0][0])
                return f"an activation with f(0) != 0 sends {sent:.3g} to {name}, where {why}"
        return "the network's code relies on the number of channels"


@contextlib.contextmanager
def zeroed(
    model: nn.Module,
    groups: Sequence[ChannelGroup],
    drawn: Mapping[str, Tensor],
    inputs: Examples,
    switches: Sequence[str],
) -> Iterator[Trial]:
    """Zero the channels ``drawn`` (indices by the group's name) of ``groups`` as long as the block lasts."""
    with zeros(model, groups, drawn):
        yield Trial(model, [(group, drawn[group.name].tolist()) for group in groups], inputs, switches)


@contextlib.contextmanager
def zeros(model: nn.Module, groups: Sequence[ChannelGroup], drawn: Mapping[str, Tensor]) -> Iterator[None]:
    """The same without a trial."""
    parameters = {parameter for group in groups for parameter, _, _ in vanishing_tensors(model, group)}
    before = [(parameter, parameter.detach().clone()) for parameter in parameters]
    try:
        for group in groups:
            zero(model, group, drawn[group.name])
        yield
    finally:
        with torch.no_grad():
            for parameter, values in before:
                parameter.copy_(values)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(False), *module.buffers(False)]
