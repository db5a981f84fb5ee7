"""Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019."""

from __future__ import annotations

from compressor.data.augmentations.mixing import Mixing


class CutMix(Mixing):
    """A rectangle of every image is that of another one of its batch; the labels are mixed by area, drawn evenly."""

    name, transform = "cutmix", "CutMix"
