"""Images with their labels, and a data set of three parts."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from compressor.data.batches import Augmentation
from compressor.data.normalization import Normalization


@dataclass(frozen=True)
class Samples:
    """Images, uint8 (samples, channels, height, width), and their labels, int64 (samples,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Samples:
        """The samples at ``indices``, in that order."""
        return Samples(self.images[indices], self.labels[indices])


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What to train on, what to choose by, what to report on, and how the images want to be treated.

    ``normalization`` is what the data set itself suggests; None where only the network's maker knows it.
    """

    ref: str
    train: Samples
    val: Samples
    test: Samples
    classes: tuple[str, ...]
    normalization: Normalization | None
    augmentation: Augmentation
    split_seed: int
    val_fraction: float

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width
