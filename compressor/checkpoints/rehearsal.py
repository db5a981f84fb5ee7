"""Whether a network can be saved and loaded again, tried before the work whose result is to be saved."""

from __future__ import annotations

import torch

from compressor.checkpoints import Network
from compressor.checkpoints.matching import mismatches
from compressor.checkpoints.structure import difference, replay
from compressor.errors import CheckpointError


def rehearse_saving(network: Network) -> None:
    """Raise `CheckpointError` when a network of this architecture and these sizes could not be saved and loaded.

    The architecture is built once more, as it is when the file is written and again when it is read.
    """
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
