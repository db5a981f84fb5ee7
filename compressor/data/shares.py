"""What each of several processes takes of the batches that they train on together: none of it twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from compressor.errors import DataError, UsageError
from compressor.ranks import Ranks


@dataclass(frozen=True)
class Share:
    """The ``rank``-th part of ``size`` equal ones; of ``ranks`` that must all be given the same to take theirs of."""

    rank: int = 0
    size: int = 1
    ranks: Ranks | None = None

    def part(self, samples: int) -> slice:
        """Its samples of a batch of so many."""
        own = samples // self.size
        return slice(self.rank * own, (self.rank + 1) * own)

    def of(self, index: int) -> bool:
        """Whether the ``index``-th of a row of batches is its own."""
        return index % self.size == self.rank

    def require_equal(self, digest: str, what: str) -> None:
        """Raise `DataError`, on all ranks, unless all have the same ``digest``."""
        if self.ranks is not None and len(set(self.ranks.of_each(digest))) > 1:
            raise DataError(
                f"{what} differ from process to process, and each is to take its part of the same; leave dividing them "
                "to compress, and draw their order from the global generators, which have the same seed on all"
            )


WHOLE = Share()


def require_divisible(batch_size: int, size: int) -> None:
    """Raise `UsageError` unless ``size`` processes can take equal parts of a batch, of two samples or more each."""
    if batch_size % size:
        raise UsageError(f"--batch-size must be a multiple of the {size} processes that train, got {batch_size}")
    if size > 1 and batch_size < 2 * size:
        raise UsageError(f"--batch-size must be at least 2 for each of the {size} processes, got {batch_size}")


def rounds(batches: int, size: int, ref: str) -> int:
    """How many batches each of ``size`` processes gets of so many; what is left over is left out.

    `DataError` where there is not one for each.
    """
    if batches < size:
        raise DataError(f"the train part of {ref} has {batches} batches, and each of the {size} processes needs one")
    return batches // size


def cut(loader: Any, share: Share, what: str) -> DataLoader[Any] | None:
    """A loader of the batches of ``share`` alone; None where all have to be gone through.

    That is so of anything but a plain DataLoader of samples by index.
    """
    plain = type(loader) is DataLoader and not isinstance(loader.dataset, IterableDataset)
    if not plain or loader.batch_sampler is None:
        return None
    return DataLoader(
        loader.dataset,
        batch_sampler=_Own(loader.batch_sampler, share, what),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
    )


@dataclass(frozen=True)
class _Own:
    """Those of a sampler's batches that are of the share."""

    sampler: Any
    share: Share
    what: str

    def __len__(self) -> int:
        return len(self.sampler) // self.share.size

    def __iter__(self) -> Iterator[Any]:
        # All at once: what is drawn between two batches, for their samples, is another on each rank.
        every = list(self.sampler)
        self.share.require_equal(hashlib.sha256(repr(every).encode()).hexdigest(), f"the batches of {self.what}")
        yield from every[self.share.rank : len(every) // self.share.size * self.share.size : self.share.size]
