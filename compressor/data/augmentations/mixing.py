"""Images of a batch mixed with each other by torchvision, and their labels likewise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Generator, Tensor

from compressor.data.augmentations.library import transforms
from compressor.data.variation import Variation, drawing


@dataclass(frozen=True)
class Mixing(Variation):
    """By the transform that torchvision calls ``transform``, of so many classes."""

    classes: int
    _mix: Any = field(init=False, repr=False, compare=False)

    transform: ClassVar[str]
    mixes = True
    __str__ = Variation.__str__

    def __post_init__(self) -> None:
        made = getattr(transforms(self.name), self.transform)(num_classes=self.classes)
        object.__setattr__(self, "_mix", made)

    @classmethod
    def for_images(cls, own: Variation, classes: int, shape: tuple[int, int, int]) -> Variation:
        """Of so many classes."""
        return cls(classes)

    def mixed(self, images: Tensor, labels: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """All of a batch alike."""
        with drawing(generator).drawn():
            mixed, shares = self._mix(images, labels)
        return mixed, shares
