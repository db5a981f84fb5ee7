"""Whether a network can be saved and loaded again, tried before the work whose result is to be saved."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from compressor.checkpoints import Network
from compressor.checkpoints.matching import mismatches
from compressor.checkpoints.structure import difference, replay
from compressor.errors import CheckpointError, UsageError


def rehearse_saving(network: Network) -> None:
    """Raise `CheckpointError` when a network of this architecture and these sizes could not be saved and loaded.

    The architecture is built once more, as it is when the file is written and again when it is read. `UsageError` for
    layers without sizes.
    """
    refuse_lazy(network.model)
    architecture = network.metadata.architecture
    with torch.random.fork_rng(devices=[]):
        rebuilt = architecture.build(trust=True)
    try:
        edits = difference(rebuilt, network.model)
        network.metadata.to_plain(edits)
        replay(rebuilt, edits)
    except CheckpointError as error:
        raise CheckpointError(f"what is trained could not be saved: {error}") from error
    if problems := mismatches(rebuilt, network.model.state_dict()):
        raise CheckpointError(
            f"what is trained could not be loaded again: {architecture.ref} builds another network each time "
            f"({'; '.join(problems)})"
        )


def refuse_lazy(model: nn.Module) -> None:
    """Raise `UsageError` when a layer gets its sizes, and becomes another kind of module, when it first runs."""
    lazy = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if any(map(is_lazy, (*module.parameters(recurse=False), *module.buffers(recurse=False))))
    ]
    if lazy:
        raise UsageError(
            f"the network has layers whose sizes are not known before they run, {', '.join(lazy)}; "
            "use layers with sizes in its architecture, for example Linear(in, out)"
        )
