"""How images in [0, 1] are centred and scaled before they enter the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

from compressor.errors import UsageError

# The means and standard deviations of all pixels of the two training sets, channel by channel (RGB).
PRESETS = {
    "none": ((0.0,), (1.0,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
FORM = "imagenet, cifar10, none, or MEAN/STD such as 0.485,0.456,0.406/0.229,0.224,0.225"


@dataclass(frozen=True)
class Normalization:
    """``(x - mean) / std`` for x in [0, 1]; one value for all channels or one for each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or not self.std or (self.channels > 1 and not self._lengths() <= {1, self.channels}):
            raise UsageError(
                f"normalization needs one value or one per channel, got"
                f" {len(self.mean)} means and {len(self.std)} standard deviations"
            )
        if not all(map(math.isfinite, self.mean)):
            raise UsageError(f"means of a normalization must be finite, got {_join(self.mean)}")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise UsageError(f"standard deviations must be positive and finite, got {_join(self.std)}")

    @classmethod
    def none(cls) -> Self:
        """Leave the images in [0, 1]."""
        return cls(*PRESETS["none"])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``imagenet``, ``cifar10``, ``none`` or ``MEAN/STD`` with commas between the channels."""
        if text in PRESETS:
            return cls(*PRESETS[text])
        try:
            mean, std = (tuple(map(float, side.split(","))) for side in text.split("/"))
        except ValueError:
            raise UsageError(f"normalization must be {FORM}, got {text!r}") from None
        return cls(mean, std)

    def __str__(self) -> str:
        for name, values in PRESETS.items():
            if values == (self.mean, self.std):
                return name
        return f"{_join(self.mean)}/{_join(self.std)}"

    def to_plain(self) -> dict[str, list[float]]:
        """Lists and a dictionary, for a file."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_plain(cls, plain: Any) -> Self:
        """Read what `to_plain` gave; raises `UsageError` for anything else."""
        try:
            mean, std = (tuple(map(float, plain[key])) for key in ("mean", "std"))
        except (KeyError, TypeError, ValueError):
            raise UsageError(f"normalization must hold lists 'mean' and 'std', got {plain!r}") from None
        return cls(mean, std)

    @property
    def channels(self) -> int:
        """How many channels the images must have; 1 fits any number."""
        return max(self._lengths())

    def _lengths(self) -> set[int]:
        return {len(self.mean), len(self.std)}


def _join(values: tuple[float, ...]) -> str:
    return ",".join(f"{value!r}" for value in values)
