"""Yun et al., "CutMix: regularization strategy to train strong classifiers with localizable features", 2019."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Generator, Tensor

from compressor.data.augmentations.library import transforms
from compressor.data.variation import Variation, drawing


@dataclass(frozen=True)
class CutMix(Variation):
    """A rectangle of every image is that of another one of its batch; the labels are mixed by area, drawn evenly."""

    classes: int
    _mix: Any = field(init=False, repr=False, compare=False)

    name = "cutmix"
    mixes = True
    __str__ = Variation.__str__

    def __post_init__(self) -> None:
        object.__setattr__(self, "_mix", transforms(self.name).CutMix(num_classes=self.classes))

    @classmethod
    def for_images(cls, own: Variation, classes: int, shape: tuple[int, int, int]) -> Variation:
        """Of so many classes."""
        return cls(classes)

    def mixed(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """All of a batch alike."""
        with drawing(generator).drawn():
            mixed, shares = self._mix(images, labels)
        return mixed, shares
