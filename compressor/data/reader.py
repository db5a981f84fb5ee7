"""What a data set must offer: the form of its reference and a way to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from compressor.data.batches import Augmentation
from compressor.data.normalization import Normalization
from compressor.data.samples import Samples
from compressor.errors import DataError

Shape = tuple[int, int, int]

MAX_BYTES = 8 * 2**30


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a reader found: where ``test`` or ``val`` is None, it is drawn from ``train`` later."""

    train: Samples
    classes: tuple[str, ...]
    augmentation: Augmentation
    val: Samples | None = None
    test: Samples | None = None
    normalization: Normalization | None = None


class Reader(Protocol):
    """One kind of data set; the first line of its docstring is shown by ``compress list data``."""

    form: str
    """How a reference is written, such as ``mnist:DIR``; without a colon it takes no place."""

    def read(self, place: str, shape: Shape | None) -> Parts:
        """Read the data at ``place`` as images of ``shape``, or of their native shape."""


def shape_text(shape: tuple[int, ...]) -> str:
    """``3x32x32`` for (3, 32, 32)."""
    return "x".join(map(str, shape))


def check_memory(count: int, shape: Shape, place: str) -> None:
    """Raise `DataError` when ``count`` images of ``shape`` are more than a data set may hold in memory."""
    channels, height, width = shape
    needed = count * channels * height * width
    if needed > MAX_BYTES:
        raise DataError(
            f"{place}: {count} images of {shape_text(shape)} need {needed / 2**30:.1f} GiB of memory,"
            f" at most {MAX_BYTES / 2**30:.0f} GiB are allowed; use fewer or smaller images"
        )
