"""The squared first-order change of the loss of single samples, from a pass before the training."""

from __future__ import annotations

import math

from compressor.saliency.taylor import Taylor


class Fisher(Taylor):
    """The diagonal of the Fisher information, by channels (Theis et al., "Faster gaze prediction with dense networks
    and Fisher pruning", 2018, eq. 8).

    `learn` gets the losses of single samples, so that those of different samples do not cancel.
    """

    observes = False
    memory = math.inf
    calibrated = True
