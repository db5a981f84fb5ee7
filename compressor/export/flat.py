"""What an exported file is called with and gives: tensors with names, whatever structure the network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from compressor.equivalence import eval_mode, named_outputs, outputs
from compressor.inputs import Examples, arguments, batch_of, call, chosen, named_arguments, random_inputs
from compressor.structures import Path, mapped, tensors

# Another batch than that of the example.
OTHER_BATCH = 3
# By the name of an input and by axis: the name of a size that may differ from call to call.
Axes = Mapping[str, Mapping[int, str]]


class Flat(nn.Module):
    """A network that takes the tensors of an example one by one and returns those that count."""

    def __init__(self, network: nn.Module, examples: Examples) -> None:
        super().__init__()
        self.network, self._outputs = network, examples.outputs
        self._args, self._kwargs = ordered(network, examples.calls[0])

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the network for these tensors in the place of the example's."""
        left = iter(given)
        args, kwargs = mapped((self._args, self._kwargs), lambda _: next(left))
        return tuple(tensor for _, tensor in chosen(self.network(*args, **kwargs), self._outputs))


@dataclass(frozen=True)
class Signature:
    """The names of what goes into a file and comes out of it, and the sizes that may change.

    ``lengths`` are those sizes in the first example, but for the batch. ``plain`` says that the network itself takes
    and gives tensors only, so that it can be exported as it is.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Axes
    lengths: Mapping[str, int]
    resizable: bool
    plain: bool


def ordered(model: nn.Module, example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments, and those by name in the order of ``forward``."""
    args, kwargs = arguments(example)
    return args, (named_arguments(model, example) if kwargs else {})


def by_name(model: nn.Module, inputs: Any) -> dict[str, Tensor]:
    """What an exported file calls the tensors of an example, in their order.

    A network's only tensor is "input"; others have the name of the argument of ``forward``, and after it the keys and
    places that lead to the tensor in it.
    """
    example = Examples.of(inputs).calls[0]
    if isinstance(example, Tensor):
        return {"input": example}
    found = [*tensors(named_arguments(model, example))]
    return dict(zip(_names([path for path, _ in found]), (tensor for _, tensor in found), strict=True))


def alike(model: nn.Module, inputs: Any) -> Examples:
    """The first example, and those of the others that have the same kinds of tensors: a file has one set of inputs."""
    examples = Examples.of(inputs)

    def kinds(example: Any) -> dict[str, tuple[torch.dtype, int]]:
        return {name: (tensor.dtype, tensor.ndim) for name, tensor in by_name(model, Examples(example)).items()}

    same = [example for example in examples.calls if kinds(example) == kinds(examples.calls[0])]
    return Examples(*same, outputs=examples.outputs)


def traceable(model: nn.Module, examples: Examples) -> Examples:
    """Examples with two samples at least, where the network takes more than one: exporters take a 1 for a constant."""
    if batch_of(examples.calls[0]) != 1 or not _resizable(model, examples):
        return examples
    drawn: Examples = random_inputs(examples, torch.Generator().manual_seed(0), batch=2)
    return drawn


def signature_of(model: nn.Module, examples: Examples) -> Signature:
    """How a file of ``model`` is called. A batch may change where all examples have one and the network takes it.

    So may every axis whose size differs between examples.
    """
    named = by_name(model, examples)
    resizable = _resizable(model, examples)
    result = named_outputs(model, examples.first)
    args, kwargs = arguments(examples.calls[0])
    plain = all(isinstance(value, Tensor) for value in (*args, *kwargs.values())) and examples.outputs is None
    axes = _axes([by_name(model, Examples(example)) for example in examples.calls], resizable)
    return Signature(
        inputs=tuple(named),
        outputs=_output_names([path for path, _ in result], taken=set(named)),
        axes=axes,
        lengths={
            size: named[name].shape[axis]
            for name, of_it in axes.items()
            for axis, size in of_it.items()
            if size != "batch"
        },
        resizable=resizable,
        plain=plain and _is_plain(model, examples),
    )


def _is_plain(model: nn.Module, examples: Examples) -> bool:
    """Whether it returns nothing but tensors, alone or in one tuple."""
    with torch.no_grad(), eval_mode(model):
        result = call(model, examples.calls[0])
    return isinstance(result, Tensor) or (
        type(result) in {tuple, list} and all(isinstance(part, Tensor) for part in result)
    )


def _resizable(model: nn.Module, examples: Examples) -> bool:
    """Whether the batch may change; of a network with one input that is asked for, and an error where it may not."""
    if any(batch_of(example) is None for example in examples.calls):
        return False
    if len(by_name(model, examples)) == 1:
        return True
    try:
        outputs(model, random_inputs(examples.first, torch.Generator().manual_seed(0), batch=OTHER_BATCH))
    except Exception:  # whatever the network's code raises on a batch that it does not take
        return False
    return True


def _axes(calls: Sequence[Mapping[str, Tensor]], resizable: bool) -> Axes:
    axes: dict[str, dict[int, str]] = {}
    # Axes whose sizes are the same in every example have one name: that of the first one is the batch.
    lengths: dict[tuple[int, ...], str] = {}
    firsts = [next(iter(one.values())) for one in calls]
    if all(first.ndim for first in firsts):
        lengths[tuple(len(first) for first in firsts)] = "batch"
    for name, first in calls[0].items():
        of_it = axes.setdefault(name, {})
        others = [found.shape for one in calls if (found := one.get(name)) is not None and found.ndim == first.ndim]
        for axis, sizes in enumerate(zip(*others, strict=True)):
            if axis == 0 and resizable:
                of_it[axis] = "batch"
            elif len(set(sizes)) > 1:
                number = len(lengths) - ("batch" in lengths.values())
                of_it[axis] = lengths.setdefault(sizes, f"length_{number}" if number else "length")
    return axes


def _names(paths: Sequence[Path]) -> list[str]:
    return ["_".join(map(str, path)) for path in paths]


def _output_names(paths: Sequence[Path], taken: set[str]) -> tuple[str, ...]:
    """Keys of what the network returns; "output", and a number for each of several, where there are none."""
    names = []
    for path in paths:
        keyed = any(isinstance(key, str) for key in path)
        name = "_".join(map(str, path if keyed or len(paths) == 1 else ("output", *path)))
        names.append(name if keyed else name if len(paths) > 1 else "output")
    return tuple(f"{name}_output" if name in taken else name for name in names)
