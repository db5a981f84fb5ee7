"""What varies training samples: the interface of augmentations, and several of them one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from compressor.data.randomness import OwnRandomness


class Variation:
    """One way to vary training samples; the first line of its docstring is shown by ``compress list augmentations``."""

    name: ClassVar[str]
    mixes: ClassVar[bool] = False
    """Whether it mixes samples, so that their labels become shares of classes."""

    @classmethod
    def for_images(cls, own: Variation, classes: int, shape: tuple[int, int, int]) -> Variation:
        """The one for a data set with its ``own`` augmentation, of so many ``classes`` and images of ``shape``."""
        return cls()

    def apply(self, images: Tensor, generator: Generator) -> Tensor:
        """Vary ``images``, uint8 (samples, channels, height, width), each in its own way."""
        return images

    def mixed(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Mix normalised ``images`` and their ``labels``, int64 (samples,), which become float (samples, classes)."""
        return images, labels

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Several(Variation):
    """One after the other; of those that mix, each batch gets one, drawn evenly."""

    parts: tuple[Variation, ...]

    mixes = True
    __str__ = Variation.__str__

    @property
    def name(self) -> str:  # type: ignore[override]
        """All names."""
        return ",".join(map(str, self.parts))

    def apply(self, images: Tensor, generator: Generator) -> Tensor:
        """In their order."""
        for part in self.parts:
            images = part.apply(images, generator)
        return images

    def mixed(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """By one of them."""
        mixing = [part for part in self.parts if part.mixes]
        if not mixing:
            return images, labels
        return mixing[int(torch.randint(len(mixing), (), generator=generator))].mixed(images, labels, generator)


def drawing(generator: Generator) -> OwnRandomness:
    """For a library that draws from the global generators: they begin with a number of ``generator`` while it does."""
    return OwnRandomness(int(torch.randint(2**62, (), generator=generator)))
