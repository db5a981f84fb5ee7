"""Szegedy et al., "Going deeper with convolutions", 2015."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor

from compressor.data.augmentations.library import transforms
from compressor.data.samples import Augmentation
from compressor.data.variation import Variation, drawing


@dataclass(frozen=True)
class RandomResizedCrop(Variation):
    """A part of each image, 8 to 100 % of its area, brought back to its size; mirrored where the data set allows it."""

    size: tuple[int, int]
    flip: bool = False
    _crop: Any = field(init=False, repr=False, compare=False)

    name = "random-resized-crop"
    __str__ = Variation.__str__

    def __post_init__(self) -> None:
        v2 = transforms(self.name)
        mirror = v2.RandomHorizontalFlip(0.5 if self.flip else 0.0)
        object.__setattr__(self, "_crop", v2.Compose([v2.RandomResizedCrop(self.size, antialias=True), mirror]))

    @classmethod
    def for_images(cls, own: Variation, classes: int, shape: tuple[int, int, int]) -> Variation:
        """Of their height and width."""
        return cls(shape[1:], flip=isinstance(own, Augmentation) and own.flip)

    def apply(self, images: Tensor, generator: Generator) -> Tensor:
        """Each in its own way."""
        with drawing(generator).drawn():
            return torch.stack([self._crop(image) for image in images])
