"""Images with their labels, how to vary them in training, and a data set of three parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from compressor.data.normalization import Normalization
from compressor.data.variation import Variation
from compressor.errors import UsageError
from compressor.structures import mapped
from compressor.tasks.base import Task
from compressor.tasks.classification import CLASSIFICATION


class Stored(Protocol):
    """Images that lie elsewhere than in memory, in the place of a tensor of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, channels, height and width."""

    def __getitem__(self, indices: Tensor) -> Stored:
        """Some of them, in that order; nothing is read."""

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images at each of the ``batches`` of indices, uint8 (batch, channels, height, width)."""

    def identity(self) -> Tensor:
        """A hash, uint8, that tells these images from others."""


@dataclass(frozen=True)
class Samples:
    """Images, uint8 (samples, channels, height, width), and their labels, int64 (samples,)."""

    images: Tensor | Stored
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Samples:
        """The samples at ``indices``, in that order; of images that are not in memory none is read."""
        return Samples(self.images[indices], self.labels[indices])

    def read(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, uint8 (batch, channels, height, width), and labels at each of the ``batches`` of indices."""
        images, labels = self.images, self.labels
        if isinstance(images, Tensor):
            for indices in batches:
                here = indices.to(images.device)
                yield images[here], labels[here]
            return
        asked, kept = tee(batches)
        for indices, read in zip(kept, images.read(asked), strict=True):
            yield read, labels[indices.cpu()]

    def identity(self) -> dict[str, Tensor]:
        """What tells these samples from others: images and labels, or a hash in the place of the images."""
        images = self.images if isinstance(self.images, Tensor) else self.images.identity()
        return {"images": images, "labels": self.labels}


@dataclass(frozen=True)
class Augmentation(Variation):
    """Random crops after padding with black pixels, and random mirroring, as much as suits the data set.

    ``shift`` is the number of pixels on every side.
    """

    shift: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise UsageError(f"shift must be 0 or more pixels, got {self.shift}")

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of a data set that wants neither, none."""
        return "shift-flip" if self.shift or self.flip else "none"

    @classmethod
    def for_images(cls, own: Variation, classes: int, shape: tuple[int, int, int]) -> Variation:
        """As much as suits the data set."""
        return own

    def apply(self, images: Tensor, generator: Generator) -> Tensor:
        """Augment ``images``, (samples, channels, height, width), each in its own way."""
        return self.drawn(len(images), generator).of(images)

    def drawn(self, samples: int, generator: Generator) -> View:
        """How so many samples are augmented this time, drawn from ``generator``."""
        edge = 2 * self.shift + 1
        top, left = (_random(edge, samples, generator) if self.shift else None for _ in range(2))
        return View(self.shift, top, left, _random(2, samples, generator).bool() if self.flip else None)


@dataclass(frozen=True)
class View:
    """One augmentation of every sample: (samples,) tensors of where each crop begins and of which are mirrored."""

    shift: int
    top: Tensor | None
    left: Tensor | None
    mirrored: Tensor | None

    def take(self, indices: Tensor) -> View:
        """Those of the samples at ``indices``."""
        return mapped(self, lambda part: part[indices.to(part.device)])  # type: ignore[no-any-return]

    def to(self, device: torch.device) -> View:
        """The same on ``device``."""
        return mapped(self, lambda part: part.to(device))  # type: ignore[no-any-return]

    def part(self, places: slice) -> View:
        """Those of the samples at ``places``, side by side."""
        return mapped(self, lambda part: part[places])  # type: ignore[no-any-return]

    def of(self, images: Tensor) -> Tensor:
        """The samples' ``images``, (samples, channels, height, width), augmented."""
        device = images.device
        if self.top is not None and self.left is not None:
            images = _shifted(images, self.shift, self.top.to(device), self.left.to(device))
        if self.mirrored is not None:
            images = torch.where(self.mirrored.to(device)[:, None, None, None], images.flip(-1), images)
        return images


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What to train on, what to choose by, what to report on, and how the images want to be treated.

    ``normalization`` is what the data set itself suggests; None where only the network's maker knows it. ``task`` says
    what of it is trained and measured: a batch is (images, labels). ``resize`` says how images of other sizes were
    brought to this one.
    """

    ref: str
    train: Samples
    val: Samples
    test: Samples
    classes: tuple[str, ...]
    normalization: Normalization | None
    augmentation: Variation
    split_seed: int
    val_fraction: float
    task: Task = CLASSIFICATION
    resize: str | None = None

    @property
    def validates(self) -> bool:
        """Whether there are samples to choose by."""
        return len(self.val) > 0

    @property
    def train_samples(self) -> int:
        """How many samples there are to train on."""
        return len(self.train)

    @property
    def streamed(self) -> bool:
        """Whether the images are read when they are needed, because they are more than may be in memory."""
        return not isinstance(self.train.images, Tensor)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width


def in_order_of(data: DataSet, classes: Sequence[str] | None) -> DataSet:
    """``data`` with its labels counted in the order of ``classes``, the network's own.

    Names decide. When ``classes`` are unknown, or do not hold every name of the data, labels stay as they are.
    """
    if classes is None or tuple(classes) == data.classes or not set(data.classes) <= set(classes):
        return data
    place_of = {name: place for place, name in reversed(list(enumerate(classes)))}
    places = torch.tensor([place_of[name] for name in data.classes])

    def moved(samples: Samples) -> Samples:
        return replace(samples, labels=places[samples.labels])

    return replace(data, classes=tuple(classes), train=moved(data.train), val=moved(data.val), test=moved(data.test))


def _shifted(images: Tensor, shift: int, top: Tensor, left: Tensor) -> Tensor:
    count, _, height, width = images.shape
    # Every crop is a view into the padded images: only the chosen ones are copied.
    crops = F.pad(images, (shift,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(count, device=images.device), :, top, left]


def _random(below: int, count: int, generator: Generator) -> Tensor:
    return torch.randint(below, (count,), generator=generator, device=generator.device)
