"""Closed-form least squares: the layers of a network without some channels make again what they made with them.

Layer by layer, in the order in which they run, on the inputs that the smaller network really produces by then: what
was lost before is made up for where it can be. No label and no gradient is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from compressor.channels import ChannelGroup
from compressor.equivalence import Inputs, outputs
from compressor.hooks import hooked
from compressor.layer_kinds import NORMS
from compressor.limits import allowed
from compressor.progress import Progress, silent
from compressor.reconstruction.fitting import Fit, Fitting
from compressor.reconstruction.given import Given
from compressor.reconstruction.norms import Restating
from compressor.reconstruction.readers import Gone, Reader, find_readers
from compressor.records.prune import LayerFit
from compressor.surgery.replacements import slim_touched

__all__ = ["Fit", "Given", "reconstruct"]

# Samples in a batch when not all of them fit at once.
BATCH = 64
# How many tensors as large as those of the largest layer a forward pass holds.
HELD = 3


@torch.no_grad()
def reconstruct(
    dense: nn.Module,
    small: nn.Module,
    groups: Sequence[ChannelGroup],
    gone: Gone,
    inputs: Tensor | Given,
    fit: Fit | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[LayerFit, ...], Mapping[str, str]]:
    """Fit the layers of ``small``, in place, to what they make of ``inputs`` (samples, ...) in ``dense``.

    The statistics of BatchNorm follow.
    ``small`` is ``dense`` without the channels of ``groups`` that are ``gone``. Also returned is why layers that read
    such channels were left as they are. `UsageError` when the networks do not run on ``inputs``.
    """
    fit, tell, found = fit or Fit(), progress or silent, list[LayerFit]()
    # Layers inside of torch's attention are run by themselves in ours.
    slim_touched(dense, _replaced(dense, small))
    given = Given.of(inputs)
    few = given.cut(2)[0].split(len(given))[0]
    readers = find_readers(dense, small, groups, gone, few)
    room = len(given) * HELD * readers.bytes_per_sample + fit.rows * readers.bytes_per_row <= allowed()
    whole = room and given.single
    batches = given.split(len(given) if whole else BATCH)
    # With all samples at once the pass goes on with each layer's new weights.
    passes = [[reader for wave in readers.waves for reader in wave]] if whole else readers.waves

    def read(fitting: Fitting | Restating, made: Tensor) -> None:
        fitting.read(made)
        if fitting.read_all:
            tell(len(found) / readers.count, f"fitting {fitting.reader.name}")
            fitted = fitting.solve()
            found.extend([fitted] if fitted is not None else [])

    for together in passes:
        fittings = [_begun(reader, small, len(batches), fit) for reader in together]
        for batch in batches:
            _run(dense, batch, fittings, lambda fitting, given, made: fitting.want(given, made), before=False)
            _run(small, batch, fittings, read, before=True)
    return tuple(found), readers.left


def _begun(reader: Reader, small: nn.Module, batches: int, fit: Fit) -> Fitting | Restating:
    if isinstance(small.get_submodule(reader.name), NORMS):
        return Restating(reader, small, batches)
    return Fitting(reader, small, batches, fit)


def _replaced(dense: nn.Module, small: nn.Module) -> list[str]:
    """The modules that others have taken the place of."""
    kinds = {name: type(module) for name, module in small.named_modules()}
    return [name for name, module in dense.named_modules() if kinds.get(name, type(module)) is not type(module)]


class _Reached(BaseException):
    """Ends a forward pass of which no more is needed; no code of a network catches it."""


def _run(
    model: nn.Module, batch: Inputs, fittings: Sequence[Fitting | Restating], act: Callable[..., None], *, before: bool
) -> None:
    """Run ``model`` as far as the last layer of ``fittings``.

    ``act`` gets what each is given and what it made of that, or, ``before`` it runs, what it is given.
    """
    left = sum(fitting.reader.calls for fitting in fittings)

    def watch(fitting: Fitting | Restating) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], *made: Tensor) -> None:
            nonlocal left
            act(fitting, (*args, *kwargs.values())[0], *made)
            left -= 1
            if left == 0:
                raise _Reached

        return hook

    def handles() -> Iterator[RemovableHandle]:
        for fitting in fittings:
            layer = model.get_submodule(fitting.reader.name)
            register = layer.register_forward_pre_hook if before else layer.register_forward_hook
            yield register(watch(fitting), with_kwargs=True)

    with hooked(handles()), suppress(_Reached):
        outputs(model, batch)
