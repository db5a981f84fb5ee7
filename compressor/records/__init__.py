"""Every result, from where it is measured to where it is printed: frozen, typed, the source of the JSON schema.

Here is what every record is, and the few that all documents share. Names in ``_ms`` are milliseconds, in ``_s``
seconds, in ``_bytes`` bytes; None is what was not measured or not told.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from compressor import __version__

SCHEMA_VERSION = 2

Interval = tuple[float, float]


class Record(Struct, frozen=True, kw_only=True):
    """Base of all results. A field that a newer version may have added is ignored when an older one reads it."""


class Tool(Record, frozen=True, kw_only=True):
    """Which program wrote the document."""

    name: str = "compressor"
    version: str = __version__


class Outcomes(Record, frozen=True, kw_only=True):
    """Which of the samples a network got right, so that two networks can be compared sample by sample.

    ``samples`` is the SHA-256 of the images and labels, in their order; ``right`` has a bit for each of them, the first
    is the highest bit of the first byte. A metric that is no share of samples has ``draws`` instead: its values, as
    little-endian float32, on sets of samples that are drawn again, which of the same samples are always the same sets.
    """

    samples: str
    right: bytes
    draws: bytes = b""


class Metric(Record, frozen=True, kw_only=True):
    """How well a network does its task on ``n`` samples; a share lies in [0, 1], ``ci95`` is its 95 % interval."""

    name: str = "accuracy"
    unit: str = "share"
    direction: Literal["higher", "lower"] = "higher"
    value: float
    n: int | None
    ci95: Interval | None = None
    outcomes: Outcomes | None = None


class Sparsity(Record, frozen=True, kw_only=True):
    """Shares of zero weights, and of groups ("neurons") of zero weights."""

    weights: float
    groups: float
