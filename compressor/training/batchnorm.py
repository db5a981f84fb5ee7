"""Re-estimate BatchNorm statistics: projection changes what reaches every layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from compressor.equivalence import eval_mode
from compressor.layer_kinds import NORMS


@torch.no_grad()
def reestimate(model: nn.Module, inputs: Iterable[Tensor]) -> int:
    """Replace running statistics by plain averages over ``inputs``; returns how many layers were touched."""
    norms = [m for m in model.modules() if isinstance(m, NORMS) and m.track_running_stats]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    # Everything but the norms is in eval mode: dropout would change the statistics.
    with eval_mode(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over all batches
            norm.train()
        for batch in inputs:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return len(norms)
