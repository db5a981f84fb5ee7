"""Batches as a network gets them, of images in memory or of a user's own: one interface for training and measuring.

A batch is what the task of the data reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from compressor.data.batches import MEASURED, batches
from compressor.data.device import ahead
from compressor.data.loaders import Loaders, Part, digest_of
from compressor.data.normalization import Normalization
from compressor.data.randomness import OwnRandomness
from compressor.data.samples import DataSet, Samples
from compressor.data.shares import WHOLE, Share, cut, rounds
from compressor.errors import DataError
from compressor.inputs import samples_in
from compressor.tasks.base import Task
from compressor.user_code import foreign

Data = DataSet | Loaders


class Feed(Protocol):
    """The batches of ``data`` for one ``task``."""

    @property
    def task(self) -> Task:
        """What knows what is in a batch."""

    def count(self, batch_size: int, processes: int = 1) -> int:
        """Batches of an epoch, for each of so many processes."""

    def epoch(
        self,
        number: int,
        *,
        batch_size: int,
        device: torch.device,
        shuffle: Generator,
        share: Share = WHOLE,
        done: int = 0,
    ) -> Iterator[Any]:
        """The training part, varied, as the ``number``-th epoch sees it; ``shuffle`` draws where the order is ours.

        Of several processes each gets its ``share``; the first ``done`` batches, which were trained on, are left out.
        """

    def varied(self, *, most: int, batch_size: int, seed: int, device: torch.device) -> Iterator[Any]:
        """Batches of about so many samples of the training part at ``most``, varied as in training."""

    def plain(self, *, batch_size: int, seed: int, device: torch.device) -> Iterator[Any]:
        """Batches of the training part, not varied where that is ours, in an order drawn by ``seed``."""

    def part(self, part: Part, device: torch.device | str) -> Iterator[Any]:
        """All of a part, in its order; `DataError` where it is empty."""

    def fingerprint(self, part: Part) -> str | None:
        """SHA-256 of its samples in their order; None where `part` has to be gone through for it."""


def feed_of(data: Data, normalization: Normalization | None) -> Feed:
    """The batches of ``data`` for a network that wants its inputs normalised so; a user's batches are as they come."""
    return ImageFeed(data, normalization) if isinstance(data, DataSet) else LoaderFeed(data)


def channels_last(images: Tensor) -> Tensor:
    """Laid out for the fast convolutions of CPUs and tensor cores alike."""
    return images.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class ImageFeed:
    """Batches (images, labels) of uint8 images in memory."""

    data: DataSet
    normalization: Normalization | None

    @property
    def task(self) -> Task:
        """That of the data."""
        return self.data.task

    def count(self, batch_size: int, processes: int = 1) -> int:
        """The last, smaller batch of an epoch is left out; of the others each process takes a part."""
        return max(1, len(self.data.train) // batch_size)

    def epoch(
        self,
        number: int,
        *,
        batch_size: int,
        device: torch.device,
        shuffle: Generator,
        share: Share = WHOLE,
        done: int = 0,
    ) -> Iterator[Any]:
        """Shuffled and augmented, as one process would see them; of every batch the part of ``share``."""
        drawn = self._augmented(self.data.train, batch_size, shuffle, device, share, done)
        for images, labels in drawn:
            yield channels_last(images), labels

    def varied(self, *, most: int, batch_size: int, seed: int, device: torch.device) -> Iterator[Any]:
        """Samples drawn by ``seed``, augmented: plain ones have other statistics, which cost a CIFAR network 5 points.

        Without the short last batch: each counts the same, and BatchNorm refuses a single value.
        """
        generator = torch.Generator().manual_seed(seed)
        samples = self.data.train.take(torch.randperm(len(self.data.train), generator=generator)[:most])
        return self._augmented(samples, batch_size, generator, device)

    def plain(self, *, batch_size: int, seed: int, device: torch.device) -> Iterator[Any]:
        """Not augmented."""
        samples = self.data.train
        return batches(
            samples,
            batch_size=min(batch_size, len(samples)),
            normalization=self.normalization,
            device=device,
            shuffle=torch.Generator().manual_seed(seed),
        )

    def part(self, part: Part, device: torch.device | str) -> Iterator[Any]:
        """Normalised on the CPU, so that all devices get the same bits."""
        samples = self._samples(part)
        if not len(samples):
            raise DataError("there are no samples to evaluate on; choose another part or a larger --val-fraction")
        return ahead(batches(samples, batch_size=MEASURED, normalization=self.normalization), device)

    def fingerprint(self, part: Part) -> str:
        """SHA-256 of images and labels; of images that are not in memory as `Samples.identity` says."""
        samples = self._samples(part)
        digest = hashlib.sha256(str(tuple(samples.images.shape)).encode())
        for tensor in samples.identity().values():
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def _augmented(
        self,
        samples: Samples,
        batch_size: int,
        shuffle: Generator,
        device: torch.device,
        share: Share = WHOLE,
        done: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        return batches(
            samples,
            batch_size=min(batch_size, len(samples)),
            normalization=self.normalization,
            device=device,
            shuffle=shuffle,
            augmentation=self.data.augmentation,
            drop_last=True,
            share=share,
            done=done,
        )

    def _samples(self, part: Part) -> Samples:
        return {"test": self.data.test, "val": self.data.val, "train": self.data.train}[part]


@dataclass(frozen=True)
class LoaderFeed:
    """A user's own batches, as they come."""

    data: Loaders

    @property
    def task(self) -> Task:
        """That of the data."""
        return self.data.task

    def count(self, batch_size: int, processes: int = 1) -> int:
        """As many as the loader gives, divided among the processes; its batches have their own size."""
        return rounds(self.data.batches, processes, self.data.ref)

    def epoch(
        self,
        number: int,
        *,
        batch_size: int,
        device: torch.device,
        shuffle: Generator,
        share: Share = WHOLE,
        done: int = 0,
    ) -> Iterator[Any]:
        """Every epoch begins with its own seeds, so that one that is taken up again goes on as it would have.

        Of several processes each takes every so-many-th batch. `DataError` when there are not as many batches as in
        other epochs, or when the processes are given different ones.
        """
        what = f"the train part of {self.data.ref}"
        own = cut(self.data.train, share, what) if share.size > 1 else None
        drawn = self._drawn(self.data.train if own is None else own, "train", device, shuffle.initial_seed() + number)
        count = -1
        for count, batch in enumerate(drawn):
            if share.size > 1 and own is None and not count:
                share.require_equal(digest_of(batch), f"the first batches of {what}")
            mine, place = (True, count) if own is not None else (share.of(count), count // share.size)
            if mine and done <= place < self.count(batch_size, share.size):
                yield batch
        wanted = self.data.batches if own is None else self.count(batch_size, share.size)
        if count + 1 != wanted:
            raise DataError(
                f"{what} gave {count + 1} batches in an epoch, and says {wanted}; every epoch needs as many"
            )

    def varied(self, *, most: int, batch_size: int, seed: int, device: torch.device) -> Iterator[Any]:
        """The first batches, in an order that the loader draws."""
        left = most
        for batch in self._drawn(self.data.train, "train", device, seed):
            yield batch
            left -= samples_in(self.task.inputs(batch))
            if left <= 0:
                return

    def plain(self, *, batch_size: int, seed: int, device: torch.device) -> Iterator[Any]:
        """The same batches as in training: of what size and how varied is the loader's."""
        return self._drawn(self.data.train, "train", device, seed)

    def part(self, part: Part, device: torch.device | str) -> Iterator[Any]:
        """All batches."""
        return self._drawn(getattr(self.data, part), part, device, 0)

    def fingerprint(self, part: Part) -> None:
        """Known when the part was gone through."""
        return

    def _drawn(self, loader: Iterable[Any], part: Part, device: torch.device | str, seed: int) -> Iterator[Any]:
        return ahead(self._given(loader, part, seed), device)

    def _given(self, loader: Iterable[Any], part: Part, seed: int) -> Iterator[Any]:
        own, what = OwnRandomness(seed), f"the {part} part of {self.data.ref} failed to give a batch"
        with own.drawn(), foreign(what):
            given = iter(loader)
        while True:
            with own.drawn(), foreign(what):
                batch = next(given, self)
            if batch is self:
                return
            # What torch's DataLoader makes of samples that are tuples.
            yield tuple(batch) if type(batch) is list else batch
