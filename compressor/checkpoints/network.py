"""A network with what is known of it: how it is fed, above all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from compressor.checkpoints.metadata import Metadata
from compressor.data.normalization import Normalization
from compressor.equivalence import eval_mode
from compressor.errors import UsageError, first_line
from compressor.inputs import Examples, Inputs, call, chosen, each
from compressor.sources import Architecture, input_shape_of
from compressor.structures import tensors


@dataclass(frozen=True)
class Fed:
    """What a user says that a network is called with, and which of its outputs count."""

    shape: Sequence[int] | None
    example: Inputs | None
    outputs: str | int | Sequence[str | int] | None

    @property
    def examples(self) -> tuple[Any, ...]:
        """Every example; `UsageError` where the shape is given as well."""
        if self.example is None:
            return ()
        if self.shape is not None:
            raise UsageError("--input-shape and an example (--example, --input) both say what the network is given")
        calls = tuple(Examples.of(self.example).calls)
        if not all(any(True for _ in tensors(example)) for example in calls):
            raise UsageError("an example of what a network is called with needs at least one tensor")
        return calls

    @property
    def counted(self) -> tuple[str, ...] | None:
        """The outputs that count, None where nothing is said; `UsageError` for a function, which no file can keep."""
        chosen = self.outputs if self.outputs is not None else Examples.of(self.example).outputs
        if callable(chosen):
            raise UsageError("a checkpoint keeps which outputs count by place or key, not as a function; pass outputs=")
        if chosen is None:
            return None
        return (str(chosen),) if isinstance(chosen, str | int) else tuple(map(str, chosen))


@dataclass(frozen=True)
class Network:
    """A model together with what its checkpoint knows about it, and where that lies; None for a new one."""

    model: nn.Module
    metadata: Metadata
    source: Path | None = None

    def with_model(self, model: nn.Module) -> Network:
        """The same description around another model, for example a shrunk one."""
        return replace(self, model=model)

    def example_input(self, batch: int = 2) -> Inputs:
        """What the network is called with: its examples, else normal random input (batch, *input_shape).

        The same at every call; numbers are of the precision of the network where that is not float32. Several
        examples, and one that says which outputs count, are `Examples`.
        """
        known, generator = self.metadata, torch.Generator().manual_seed(0)
        calls = known.examples or (torch.randn(batch, *known.input_shape, generator=generator),)
        other = other_precision(self.model)
        if other is not None:
            calls = tuple(each(one, lambda x: x.to(other) if x.is_floating_point() else x) for one in calls)
        return calls[0] if len(calls) == 1 and not known.outputs else Examples(*calls, outputs=known.outputs or None)

    def try_input(self) -> Any:
        """What the model returns for its example input; `UsageError` when it does not accept it."""
        examples = Examples.of(self.example_input())
        try:
            with torch.no_grad(), eval_mode(self.model):
                results = [call(self.model, example) for example in examples.calls]
        except Exception as error:  # whatever the network's code raises on a shape it did not expect
            shape = f"an input of {'x'.join(map(str, self.metadata.input_shape))} (--input-shape)"
            what = "its example (--example, --input)" if self.metadata.examples else shape
            raise UsageError(f"the network does not accept {what}: {first_line(error)}") from error
        for result in results:
            chosen(result, examples.outputs)
        return results[0]


def described(
    metadata: Metadata | None,
    architecture: Architecture,
    network: nn.Module,
    fed: Fed,
    normalize: str | None,
    classes: Sequence[str] | None,
) -> Metadata:
    """What the file knows, overruled by what the user says."""
    shape, examples = fed.shape, fed.examples
    if shape is None and not examples:
        shape, examples = (metadata.input_shape, metadata.examples) if metadata else (input_shape_of(network), ())
    if examples:
        shape = next(tuple(tensor.shape[1:]) for _, tensor in tensors(examples))
    if shape is None:
        raise UsageError(
            f"{architecture.ref} does not say its input shape; pass --input-shape, e.g. 3x224x224, or --example"
        )
    known = metadata or Metadata(architecture=architecture, input_shape=tuple(shape))
    known = replace(known, architecture=architecture, input_shape=tuple(shape), examples=examples)
    if fed.counted is not None:
        known = replace(known, outputs=fed.counted)
    if normalize is not None:
        known = replace(known, normalization=Normalization.parse(normalize))
    return known if classes is None else replace(known, classes=tuple(classes))


def other_precision(model: nn.Module) -> torch.dtype | None:
    """In what the network computes, where that is not float32."""
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    return None if torch.float32 in kinds else next(iter(kinds), None)
