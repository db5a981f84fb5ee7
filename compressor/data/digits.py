"""The digits of scikit-learn, shipped with the package (see digits.LICENSE.txt)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from compressor.data.normalization import Normalization
from compressor.data.reader import RESIZE, Parts, Shape, resize_grey
from compressor.data.samples import Augmentation, Samples

FILE = Path(__file__).with_name("digits.npz")


class Digits:
    """1797 grey handwritten digits of 8x8 pixels, built in."""

    form = "digits"

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Read the file in the package; ``place`` is not used."""
        with np.load(FILE, allow_pickle=False) as stored:
            levels, labels = stored["images"], stored["labels"]
        brightness = (torch.from_numpy(levels).float() * (255 / 16)).round().to(torch.uint8)
        images = resize_grey(brightness[:, None], shape, self.form)
        return Parts(
            train=Samples(images, torch.from_numpy(labels).long()),
            classes=tuple("0123456789"),
            normalization=Normalization.none(),
            augmentation=Augmentation(shift=images.shape[2] // 16),
            resize=RESIZE,
        )
