"""Zhang et al., "mixup: beyond empirical risk minimization", 2018."""

from __future__ import annotations

from compressor.data.augmentations.mixing import Mixing


class MixUp(Mixing):
    """Every image a weighted mean with another one of its batch, the labels likewise; the weight is drawn evenly."""

    name, transform = "mixup", "MixUp"
