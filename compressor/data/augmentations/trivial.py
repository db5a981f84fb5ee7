"""Mueller and Hutter, "TrivialAugment: tuning-free yet state-of-the-art data augmentation", 2021."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from compressor.data.augmentations.library import transforms
from compressor.data.variation import Variation, drawing


@dataclass(frozen=True)
class Trivial(Variation):
    """TrivialAugmentWide: one of 14 changes of colour or shape for each image, of a strength drawn evenly."""

    _change: Any = field(init=False, repr=False, compare=False)

    name = "trivial"
    __str__ = Variation.__str__

    def __post_init__(self) -> None:
        object.__setattr__(self, "_change", transforms(self.name).TrivialAugmentWide())

    def apply(self, images: Tensor, generator: Generator) -> Tensor:
        """Each in its own way."""
        with drawing(generator).drawn():
            return torch.stack([self._change(image) for image in images])
