"""Images that are more than may be in memory: they stay in their files, and are decoded when a batch needs them."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset

from compressor.data.batches import MEASURED
from compressor.data.encoded import Encoded
from compressor.data.image_files import decode, decode_all, native_shape
from compressor.data.reader import RESIZE, Parts, Shape, check_images, exceeds_memory
from compressor.data.samples import Augmentation, Samples
from compressor.errors import DataError

MOST_WORKERS = 8  # where nobody says how many
HASHED = 64  # files whose content tells one data set from another that has the same names and sizes


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Images of ``shape`` in ``files``, those of the numbers ``places``, int64 (images,), decoded when they are read.

    In memory are some tens of bytes an image, and two batches for each of the ``workers``, processes that decode; 0
    decodes in this one.
    """

    files: Encoded
    places: Tensor
    image_shape: Shape
    workers: int

    @property
    def shape(self) -> tuple[int, ...]:
        """As of a tensor that held them: (images, channels, height, width)."""
        return len(self.places), *self.image_shape

    def __getitem__(self, indices: Tensor) -> StreamedImages:
        """Some of them, in that order; nothing is read."""
        return replace(self, places=self.places[indices])

    def read(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images at each of the ``batches`` of indices, uint8 (batch, channels, height, width).

        They are the same whatever the number of processes. `DataError` names an image that cannot be read.
        """
        numbers = (self.places[indices.cpu()] for indices in batches)
        first = [*islice(numbers, 2)]
        # Processes are not worth their start for one batch.
        workers = self.workers if len(first) > 1 else 0
        with warnings.catch_warnings(action="ignore"):  # of more processes than processors: the user's choice
            given: Iterator[Tensor | DataError] = iter(
                DataLoader(
                    _Decoding(self.files, self.image_shape),
                    batch_size=None,
                    sampler=chain(first, numbers),
                    num_workers=workers,
                    multiprocessing_context=_context() if workers else None,
                    generator=Generator(),  # it draws a seed for its processes, which is not to come from ours
                )
            )
        for images in given:
            if isinstance(images, DataError):
                raise images
            yield images

    def identity(self) -> Tensor:
        """SHA-256 of names and sizes of the files (checksums, where they are known), and of the content of a few."""
        digest = hashlib.sha256(f"{self.shape}\n".encode())
        numbers = self.places.tolist()
        for number in numbers:
            digest.update(self.files.mark(number))
        for number in numbers[:: math.ceil(len(numbers) / HASHED) or 1]:
            digest.update(self.files.read(number))
        return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


class _Decoding(Dataset[Tensor | DataError]):
    """What the processes do; an error is handed over as it is: raised there, it would come with their traceback."""

    def __init__(self, files: Encoded, shape: Shape) -> None:
        self._files, self._shape = files, shape

    def __getitem__(self, numbers: Tensor) -> Tensor | DataError:
        try:
            return decode(self._files, numbers.tolist(), self._shape)
        except DataError as error:
            return DataError(str(error))


def default_workers() -> int:
    """One process for each processor that this one may use, but not very many."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MOST_WORKERS)


class Labelled(NamedTuple):
    """The files of one part, and the label of each, int64 (images,)."""

    files: Encoded
    labels: Tensor


def image_parts(
    place: str,
    train: Labelled,
    val: Labelled | None,
    test: Labelled | None,
    *,
    classes: tuple[str, ...],
    shape: Shape | None,
) -> Parts:
    """Images of ``shape``, or of that of the first one: in memory, or streamed where that is more than allowed.

    Raises `DataError` where the network wants other channels than images have, or one cannot be read.
    """
    wanted = shape or native_shape(train.files, 0)
    if wanted[0] not in (1, 3):
        raise DataError(f"{place} gives 1 or 3 channels, the network wants {wanted[0]}")
    count = sum(len(part.labels) for part in (train, val, test) if part is not None)
    check_images(min(count, MEASURED), wanted, place)
    stream = exceeds_memory(count, wanted)

    def samples(part: Labelled) -> Samples:
        if stream:
            places = torch.arange(len(part.labels))
            return Samples(StreamedImages(part.files, places, wanted, default_workers()), part.labels)
        return Samples(decode_all(part.files, range(len(part.labels)), wanted), part.labels)

    return Parts(
        train=samples(train),
        val=samples(val) if val is not None else None,
        test=samples(test) if test is not None else None,
        classes=classes,
        augmentation=Augmentation(shift=wanted[1] // 8, flip=True),
        resize=RESIZE,
    )


def decoded_by(samples: Samples, workers: int) -> Samples:
    """The same, decoded by so many processes where they are streamed."""
    images = samples.images
    return replace(samples, images=replace(images, workers=workers)) if isinstance(images, StreamedImages) else samples


def _context() -> str:
    """How processes begin: as copies of this one where that goes, which is fifty times as quick as anew."""
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
