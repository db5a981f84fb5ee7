"""Trust, but verify: remove half of every group's channels from a copy, and compare outputs in float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from compressor.errors import first_line
from compressor.groups.channels import ChannelGroup, zero
from compressor.groups.graph import NORMS, DependencyGraph
from compressor.proofs import FLOAT64_LIMIT, output_difference


def probed(model: nn.Module, example_input: Tensor, groups: Sequence[ChannelGroup]) -> tuple[ChannelGroup, ...]:
    """The same groups, those whose removal changes the outputs excluded with the reason."""
    probe = _Probe(model, example_input)
    reasons = probe.reasons([group for group in groups if group.prunable])
    return tuple(replace(g, excluded=reasons[g.name]) if g.name in reasons else g for g in groups)


class _Probe:
    def __init__(self, model: nn.Module, example_input: Tensor) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self._model = copy.deepcopy(model).cpu().double().eval()
        _randomise(self._model, self._generator)
        shape = (2, *example_input.shape[1:])
        self._inputs = torch.randn(shape, generator=self._generator, dtype=torch.float64)

    def reasons(self, groups: Sequence[ChannelGroup]) -> dict[str, str]:
        """Why groups fail, by name: all at once first, then by halves, so that a sound network costs one probe."""
        reason = self._failure(groups) if groups else None
        if reason is None:
            return {}
        if len(groups) == 1:
            return {groups[0].name: reason}
        middle = len(groups) // 2
        found = {**self.reasons(groups[:middle]), **self.reasons(groups[middle:])}
        sound = [group for group in groups if group.name not in found]
        if len(sound) == len(groups) or (sound and self._failure(sound) is not None):
            # Each half is sound alone but not together: none of them can be trusted.
            return {group.name: f"together with other groups, {reason}" for group in groups}
        return found

    def _failure(self, groups: Sequence[ChannelGroup]) -> str | None:
        zeroed = copy.deepcopy(self._model)
        halves = {}
        for group in groups:
            half = torch.randperm(group.channels, generator=self._generator)[: group.channels // 2]
            zero(zeroed, group, half)
            halves[group.name] = sorted(half.tolist())
        try:
            graph = DependencyGraph(zeroed, self._inputs)
            graph.remove(halves)
            difference = output_difference(zeroed, graph.model, self._inputs)
        except Exception as error:  # whatever foreign code raises on a shape it did not expect
            return f"removing channels breaks the network ({type(error).__name__}: {first_line(error)})"
        if difference <= FLOAT64_LIMIT:
            return None
        return (
            f"removing its zeroed channels changes the output by {difference:.1e} of its scale "
            "(an activation with f(0) != 0, or code that relies on the number of channels)"
        )


def _randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Random statistics and biases: freshly initialised ones (0 and 1) hide faults."""
    for module in model.modules():
        tensors = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
        for name, tensor in tensors.items():
            if name == "bias" or (isinstance(module, NORMS) and tensor.is_floating_point()):
                values = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
                # Positive and near one, so that variances are valid and signals neither die nor explode.
                tensor.data.copy_(values + 0.5)
